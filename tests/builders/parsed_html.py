"""HTML as a tree, read the way a browser reads it as far as our own pages go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

#: What a reader sees side by side without a gap.
INLINE = {"", "a", "b", "code", "em", "span", "button", "svg", "path", "circle"}
VOID = {"meta", "link", "img", "input", "br", "hr"}


@dataclass(eq=False)
class Node:
    """An element: its children are elements and strings."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Node | str] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """This element and all inside it."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, tag: str = "", **attributes: str) -> list[Node]:
        """Elements with this tag and these attributes; ``class_`` needs one of the classes, ``_`` stands for ``-``."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}

        def fits(node: Node, name: str, value: str) -> bool:
            has = node.attributes.get(name)
            return value in (has or "").split() if name == "class" else has == value

        return [
            node
            for node in self.walk()
            if (not tag or node.tag == tag) and all(fits(node, name, value) for name, value in wanted.items())
        ]

    def one(self, tag: str = "", **attributes: str) -> Node:
        """The only such element."""
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        """All its text, blanks folded."""
        return " ".join("".join(self.strings()).split())

    def strings(self) -> Iterator[str]:
        """Every string inside it."""
        for child in self.children:
            if isinstance(child, str):
                yield child
            else:
                yield from child.strings()
                if child.tag not in INLINE:
                    yield " "


class Reader(HTMLParser):
    """Builds the tree; an element that is closed out of order is an error."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in <{tag} {attrs}>"
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(text: str) -> Node:
    """The tree of a page whose elements are all closed by hand."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root], f"not closed: {[node.tag for node in reader.open[1:]]}"
    return reader.root
