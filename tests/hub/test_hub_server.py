"""The test Hub against the real clients: what they need from it, and what they do when it fails."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import httpx2 as httpx  # what huggingface_hub 2 speaks through
except ImportError:
    import httpx
import pytest
from hub_server import HubProcess, HubServer, Logged
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.lfs import UploadInfo, post_lfs_batch_info
from huggingface_hub.utils import get_session

WEIGHTS = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def api() -> HfApi:
    return HfApi()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Weights, a card and a small file in a folder inside."""
    folder = tmp_path / "run"
    (folder / "logs").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "README.md").write_text("---\nlicense: mit\ntags:\n- divsal\n- second\n---\n# A card\n")
    (folder / "logs" / "log.txt").write_text("fine\n")
    return folder


@pytest.fixture
def uploaded(hub: HubServer, api: HfApi, folder: Path) -> str:
    """A repository with that folder, and its commit."""
    api.create_repo("ann/run")
    return api.upload_folder(repo_id="ann/run", folder_path=folder).oid


def contents(folder: str | Path) -> dict[str, bytes]:
    root = Path(folder)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def asked(hub: HubServer | HubProcess, method: str, part: str) -> list[Logged]:
    return [request for request in hub.requests if request.method == method and part in request.path]


# --- uploads and downloads ----------------------------------------------------------------------------------------


def test_an_uploaded_folder_comes_back_by_branch_and_by_commit(hub, api, folder, uploaded):
    files = hub.files("ann/run")
    assert {**contents(folder), ".gitattributes": files[".gitattributes"]} == files
    assert hub.heads("ann/run") == {"main": uploaded}
    for revision in ("main", uploaded):
        assert contents(snapshot_download("ann/run", revision=revision)) == files
        assert Path(hf_hub_download("ann/run", "model.safetensors", revision=revision)).read_bytes() == WEIGHTS
    (put,) = asked(hub, "PUT", f"/storage/models/ann/run/{SHA256}")
    assert (put.status, put.bytes_in, put.authorized) == (200, len(WEIGHTS), False)


def test_a_new_repository_has_one_commit(hub, api):
    assert api.create_repo("ann/new").repo_id == "ann/new"
    assert hub.commit_count("ann/new") == 1
    assert api.list_repo_files("ann/new") == [".gitattributes"]
    api.create_repo("ann/new", exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("ann/new")
    assert api.create_repo("ann/new", repo_type="dataset", private=True).repo_id == "ann/new"
    assert api.dataset_info("ann/new").private
    api.delete_repo("ann/new")
    assert not api.repo_exists("ann/new")
    assert api.repo_exists("ann/new", repo_type="dataset")


def test_the_same_upload_again_makes_no_commit(hub, api, folder, uploaded):
    before = len(hub.requests)
    assert api.upload_folder(repo_id="ann/run", folder_path=folder).oid == uploaded
    assert hub.commit_count("ann/run") == 2
    assert not any("/storage/" in item.path or "/commit/" in item.path for item in hub.requests[before:])


def test_branches_and_tags(hub, api, folder, uploaded):
    api.create_branch("ann/run", branch="runs/one", revision=uploaded)
    (folder / "logs" / "log.txt").write_text("changed\n")
    commit = api.upload_folder(repo_id="ann/run", folder_path=folder, revision="runs/one").oid
    assert hub.heads("ann/run") == {"main": uploaded, "runs/one": commit}
    assert hub.files("ann/run", "runs/one")["logs/log.txt"] == b"changed\n"
    assert hub.files("ann/run")["logs/log.txt"] == b"fine\n"
    assert contents(snapshot_download("ann/run", revision="runs/one")) == hub.files("ann/run", commit)
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_branch("ann/run", branch="runs/one")
    api.create_branch("ann/run", branch="runs/one", exist_ok=True)
    api.create_tag("ann/run", tag="v1", revision="runs/one")
    refs = api.list_repo_refs("ann/run")
    assert {ref.name: ref.target_commit for ref in refs.branches + refs.tags} == {**hub.heads("ann/run"), "v1": commit}
    api.delete_branch("ann/run", branch="runs/one")
    assert set(hub.heads("ann/run")) == {"main"}
    assert Path(hf_hub_download("ann/run", "logs/log.txt", revision="v1")).read_text() == "changed\n"
    api.delete_tag("ann/run", tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.create_branch("ann/run", branch="late", revision="v1")


def test_files_are_deleted_and_commits_listed(hub, api, uploaded):
    api.delete_file("logs/log.txt", "ann/run", commit_message="No log")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="a/b/c.txt", repo_id="ann/run", commit_message="Deep")
    api.delete_folder("a/b", "ann/run", commit_message="Not deep")
    assert sorted(hub.files("ann/run")) == [".gitattributes", "README.md", "model.safetensors"]
    titles = [commit.title for commit in api.list_repo_commits("ann/run")]
    assert titles == ["Not deep", "Deep", "No log", "Upload folder using huggingface_hub", "initial commit"]
    with pytest.raises(RemoteEntryNotFoundError):
        api.delete_file("logs/log.txt", "ann/run")


def test_a_commit_upon_another_parent_is_refused(hub, api, uploaded):
    first = api.list_repo_commits("ann/run")[-1].commit_id
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as caught:
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="ann/run", parent_commit=first)
    assert caught.value.response.status_code == 412
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="ann/run", parent_commit=uploaded)
    assert hub.commit_count("ann/run") == 3


def test_a_pull_request_leaves_the_branch_alone(hub, api, uploaded, as_user):
    as_user("bob")
    opened = api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="ann/run", create_pr=True)
    assert opened.pr_url == f"{hub.url}/ann/run/discussions/1"
    assert opened.pr_revision == "refs/pr/1"
    assert hub.heads("ann/run") == {"main": uploaded}
    assert Path(hf_hub_download("ann/run", "x", revision="refs/pr/1")).read_bytes() == b"x"


def test_what_the_hub_tells_about_a_repository(hub, api, uploaded):
    info = api.model_info("ann/run", files_metadata=True)
    assert (info.id, info.sha, info.private, info.gated) == ("ann/run", uploaded, False, False)
    assert (info.tags, info.card_data["license"]) == (["divsal", "second"], "mit")
    sizes = {file.rfilename: (file.size, file.lfs and file.lfs.sha256) for file in info.siblings}
    assert sizes["model.safetensors"] == (len(WEIGHTS), SHA256)
    assert sizes["logs/log.txt"] == (5, None)
    entries = {entry.path: entry for entry in api.list_repo_tree("ann/run", recursive=True, expand=True)}
    assert set(entries) == {".gitattributes", "README.md", "logs", "logs/log.txt", "model.safetensors"}
    assert entries["model.safetensors"].lfs.sha256 == SHA256
    assert entries["logs/log.txt"].last_commit.oid == uploaded
    assert {entry.path for entry in api.list_repo_tree("ann/run", "logs")} == {"logs/log.txt"}
    assert [entry.path for entry in api.get_paths_info("ann/run", ["logs", "README.md", "none"])] == [
        "logs",
        "README.md",
    ]
    assert [found.id for found in api.list_models(author="ann", filter=["divsal", "second"])] == ["ann/run"]
    assert list(api.list_models(filter="other")) == []
    assert api.whoami()["name"] == "ann"
    assert {"lab"} == {org["name"] for org in api.whoami()["orgs"]}


def test_a_repository_can_be_put_there_without_a_client(hub, api):
    first = hub.add("lab/data", {"a.txt": b"a"}, repo_type="dataset")
    second = hub.add("lab/data", {"b.txt": b"b"}, repo_type="dataset")
    path = snapshot_download("lab/data", repo_type="dataset")
    assert contents(path) == hub.files("lab/data", second, repo_type="dataset")
    assert "b.txt" not in hub.files("lab/data", first, repo_type="dataset")


def test_a_cached_commit_needs_no_hub(hub, uploaded):
    path = snapshot_download("ann/run", revision=uploaded)
    hub.stop()
    assert snapshot_download("ann/run", revision=uploaded) == path
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("ann/run", "other.txt")
    hub.start()
    assert HfApi().file_exists("ann/run", "README.md")


# --- who may do what ----------------------------------------------------------------------------------------------


def status(action: Callable[[], object]) -> tuple[type[Exception], int]:
    """The class of error and the status that an action ends with."""
    with pytest.raises(HfHubHTTPError) as caught:
        action()
    return type(caught.value), caught.value.response.status_code


def test_a_private_repository_does_not_exist_for_others(hub, api, as_user):
    hub.add("ann/secret", {"a.txt": b"a"}, private=True)
    actions = [
        lambda: api.model_info("ann/secret"),
        lambda: hf_hub_download("ann/secret", "a.txt"),
        lambda: snapshot_download("ann/secret"),
    ]
    as_user("bob")
    assert [status(action) for action in actions] == [(RepositoryNotFoundError, 404)] * 3
    as_user(None)
    assert [status(action) for action in actions] == [(RepositoryNotFoundError, 401)] * 3
    assert status(lambda: api.model_info("ann/nothing")) == (RepositoryNotFoundError, 401)
    as_user("nobody")
    assert [status(action) for action in actions] == [(HfHubHTTPError, 401)] * 3


def test_a_gated_repository_is_listed_but_not_given(hub, api, as_user):
    hub.add("ann/gated", {"a.txt": b"a"}, repo_type="dataset")
    hub.gate("ann/gated", repo_type="dataset")

    def download() -> str:
        return hf_hub_download("ann/gated", "a.txt", repo_type="dataset")

    as_user("bob")
    assert api.dataset_info("ann/gated").gated == "auto"
    assert status(download) == (GatedRepoError, 403)
    with pytest.raises(GatedRepoError, match="not in the authorized list"):
        api.auth_check("ann/gated", repo_type="dataset")
    as_user(None)
    assert status(download) == (GatedRepoError, 401)
    hub.gate("ann/gated", repo_type="dataset", granted=("bob",))
    as_user("bob")
    assert Path(download()).read_bytes() == b"a"
    as_user("ann")
    api.auth_check("ann/gated", repo_type="dataset")


def test_writing_needs_a_token_for_the_namespace(hub, api, uploaded, as_user):
    actions = [
        lambda: api.create_repo("ann/other"),
        lambda: api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="ann/run"),
        lambda: api.create_branch("ann/run", branch="b"),
        lambda: api.delete_repo("ann/run"),
    ]
    as_user("bob")
    assert [status(action) for action in actions] == [(HfHubHTTPError, 403)] * 4
    as_user("ann_reads")
    assert [status(action) for action in actions] == [(HfHubHTTPError, 403)] * 4
    as_user(None)
    unknown = (RepositoryNotFoundError, 401)
    assert [status(action) for action in actions] == [(HfHubHTTPError, 401), unknown, unknown, (HfHubHTTPError, 401)]
    assert hub.heads("ann/run") == {"main": uploaded}
    as_user("ann")
    assert api.create_repo("lab/shared").repo_id == "lab/shared"


def test_errors_of_names(hub, api, uploaded):
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("ann/run", "README.md", revision="v9")
    with pytest.raises(RevisionNotFoundError):
        snapshot_download("ann/run", revision="v9")
    with pytest.raises(RevisionNotFoundError):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="ann/run", revision="v9")
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download("ann/run", "nothing.txt")
    assert not api.file_exists("ann/run", "nothing.txt")
    with pytest.raises(RepositoryNotFoundError):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="ann/nothing")


def test_the_log_holds_names_and_no_tokens(hub, api, uploaded, as_user):
    as_user(None)
    api.model_info("ann/run")
    last, create = hub.requests[-1], hub.requests[0]
    assert (last.method, last.path, last.status, last.authorized, last.user) == (
        "GET",
        "/api/models/ann/run",
        200,
        False,
        None,
    )
    assert (create.path, create.authorized, create.user) == ("/api/repos/create", True, "ann")
    assert "hf_ann" not in repr(hub.requests)


# --- when the Hub fails -------------------------------------------------------------------------------------------


def test_storage_that_is_unavailable_twice_is_asked_again(hub, api, folder, waits):
    api.create_repo("ann/run")
    hub.fail("PUT", "/storage/", 503, times=2)
    api.upload_folder(repo_id="ann/run", folder_path=folder)
    assert [put.status for put in asked(hub, "PUT", "/storage/")] == [503, 503, 200]
    assert waits == [1, 2]
    assert hub.files("ann/run")["model.safetensors"] == WEIGHTS


def test_the_client_gives_up_after_five_repetitions(hub, api, folder, waits):
    """And hides the Hub's error behind a RuntimeError, where it is storage that failed."""
    api.create_repo("ann/run")
    hub.fail("PUT", "/storage/", 500, times=6)
    with pytest.raises(RuntimeError, match=r"Error while uploading 'model.safetensors'") as caught:
        api.upload_folder(repo_id="ann/run", folder_path=folder)
    assert isinstance(caught.value.__cause__, HfHubHTTPError)
    assert waits == [1, 2, 4, 8, 8]
    assert hub.commit_count("ann/run") == 1


def test_the_client_waits_as_long_as_it_is_told(hub, api, folder, waits):
    api.create_repo("ann/run")
    hub.fail("POST", "/preupload/", 429, retry_after=30)
    api.upload_folder(repo_id="ann/run", folder_path=folder)
    assert waits == [31]


REQUESTS: dict[str, Callable[[HfApi], object]] = {
    "POST /preupload/": lambda api: api.upload_file(path_or_fileobj=WEIGHTS, path_in_repo="m.bin", repo_id="ann/x"),
    "POST /objects/batch": lambda api: api.upload_file(path_or_fileobj=WEIGHTS, path_in_repo="m.bin", repo_id="ann/x"),
    "GET /tree/": lambda api: snapshot_download("ann/x"),
    "GET /commits/": lambda api: api.list_repo_commits("ann/x"),
    "HEAD /resolve/": lambda api: hf_hub_download("ann/x", "a.txt"),
    "POST /repos/create": lambda api: api.create_repo("ann/new"),
    "POST /branch/": lambda api: api.create_branch("ann/x", branch="b"),
    "POST /validate-yaml": lambda api: api.upload_file(path_or_fileobj=b"#", path_in_repo="README.md", repo_id="ann/x"),
    "POST /commit/": lambda api: api.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id="ann/x"),
    "GET /resolve/": lambda api: hf_hub_download("ann/x", "a.txt"),
    "GET /revision/": lambda api: snapshot_download("ann/x"),
    "GET /refs": lambda api: api.list_repo_refs("ann/x"),
    "GET /models/ann/x": lambda api: api.model_info("ann/x"),
}
REPEATED = ("POST /preupload/", "POST /objects/batch", "GET /tree/", "GET /commits/", "HEAD /resolve/")


@pytest.mark.parametrize("request_line", REQUESTS)
def test_which_requests_the_client_repeats(hub, api, request_line):
    """A caller has to repeat the others, commits among them."""
    hub.add("ann/x", {"a.txt": b"a"})
    hub.fail(*request_line.split(), status=503)
    if request_line in REPEATED:
        REQUESTS[request_line](api)
    else:
        with pytest.raises((HfHubHTTPError, LocalEntryNotFoundError)):
            REQUESTS[request_line](api)
    assert hub.faults[0].times == 0


def test_a_lost_answer_leaves_a_commit_that_the_client_does_not_know(hub, api, folder):
    api.create_repo("ann/run")
    hub.lose("POST", "/commit/")
    with pytest.raises(Exception, match="disconnected"):
        api.upload_folder(repo_id="ann/run", folder_path=folder)
    assert hub.commit_count("ann/run") == 2
    # Repeated, it finds everything there.
    assert api.upload_folder(repo_id="ann/run", folder_path=folder).oid == hub.heads("ann/run")["main"]
    assert hub.commit_count("ann/run") == 2


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_upload_is_sent_again(hub, api, folder, waits, reset):
    api.create_repo("ann/run")
    hub.cut("PUT", "/storage/", after_bytes=1_000_000, reset=reset)
    api.upload_folder(repo_id="ann/run", folder_path=folder)
    first, second = asked(hub, "PUT", "/storage/")
    assert (first.status, second.status, second.bytes_in) == (None, 200, len(WEIGHTS))
    assert 1_000_000 <= first.bytes_in < 1_100_000
    assert waits == [1]


def test_an_upload_cut_for_good_goes_on_where_it_ended(hub, api, folder):
    (folder / "second.safetensors").write_bytes(WEIGHTS[::-1])
    other = hashlib.sha256(WEIGHTS[::-1]).hexdigest()
    api.create_repo("ann/run")
    hub.cut("PUT", f"/storage/.*{other}", after_bytes=100_000, times=6)
    with pytest.raises(RuntimeError, match=r"Error while uploading 'second.safetensors'"):
        api.upload_folder(repo_id="ann/run", folder_path=folder)
    assert (hub.stored("ann/run"), hub.commit_count("ann/run")) == ({SHA256}, 1)
    before = len(hub.requests)
    api.upload_folder(repo_id="ann/run", folder_path=folder)
    (put,) = [request for request in hub.requests[before:] if request.method == "PUT"]
    assert put.path.endswith(other)
    assert hub.stored("ann/run") == {SHA256, other}


def test_a_cut_download_is_resumed_in_steps_of_the_clients_buffer(hub, uploaded, waits, monkeypatch):
    """Of 10 MiB, so that a smaller file starts anew."""
    for buffer, missing in ((10 * 2**20, len(WEIGHTS)), (2**18, len(WEIGHTS) - 3 * 2**18)):
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", buffer)
        hub.requests.clear()
        hub.cut("GET", "model.safetensors", after_bytes=1_000_000)
        path = hf_hub_download("ann/run", "model.safetensors", force_download=True)
        assert Path(path).read_bytes() == WEIGHTS
        assert [get.bytes_out for get in asked(hub, "GET", "model.safetensors")] == [1_000_000, missing]
    assert waits == [1, 1]
    assert asked(hub, "GET", "model.safetensors")[-1].status == 206


def test_a_reset_download_is_not_resumed(hub, uploaded, waits):
    hub.cut("GET", "model.safetensors", after_bytes=1_000_000, reset=True)
    with pytest.raises(httpx.ReadError):
        hf_hub_download("ann/run", "model.safetensors")
    assert waits == []


def test_a_download_that_hangs_is_started_again(hub, uploaded, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.delay("GET", "model.safetensors", seconds=30)
    assert Path(hf_hub_download("ann/run", "model.safetensors")).read_bytes() == WEIGHTS


def test_a_cached_branch_hides_errors_of_the_hub(hub, api, uploaded, waits):
    """Even that the repository is gone: only a commit says which contents it is."""
    path = hf_hub_download("ann/run", "logs/log.txt")
    hub.add("ann/run", {"logs/log.txt": b"new\n"})
    hub.fail("HEAD", "/resolve/", 503)
    assert Path(hf_hub_download("ann/run", "logs/log.txt")).read_text() == "fine\n"
    assert Path(hf_hub_download("ann/run", "logs/log.txt")).read_text() == "new\n"
    api.delete_repo("ann/run")
    assert Path(hf_hub_download("ann/run", "logs/log.txt")).read_text() == "new\n"
    assert hf_hub_download("ann/run", "logs/log.txt", revision=uploaded) == path
    assert waits == []


def test_a_corrupt_download_is_kept(hub, api, uploaded):
    """The client compares sizes, not hashes, and takes the same file from its cache the next time."""
    hub.corrupt("model.safetensors")
    path = Path(hf_hub_download("ann/run", "model.safetensors"))
    received = path.read_bytes()
    assert [n for n, (a, b) in enumerate(zip(received, WEIGHTS, strict=True)) if a != b] == [1_500_000]
    assert Path(hf_hub_download("ann/run", "model.safetensors")).read_bytes() == received
    (wrong,) = api.verify_repo_checksums("ann/run").mismatches
    assert (wrong["path"], wrong["expected"]) == ("model.safetensors", SHA256)
    again = hf_hub_download("ann/run", "model.safetensors", force_download=True)
    assert Path(again).read_bytes() == WEIGHTS
    assert api.verify_repo_checksums("ann/run").mismatches == []


def test_storage_refuses_contents_that_do_not_have_their_hash(hub, api):
    hub.add("ann/run", {})
    (asked_for,), _, _ = post_lfs_batch_info([UploadInfo.from_bytes(WEIGHTS)], "hf_ann", "model", "ann/run")
    href = asked_for["actions"]["upload"]["href"]
    assert get_session().put(href, content=WEIGHTS[:-1]).status_code == 400
    assert get_session().put(href.split("?")[0], content=WEIGHTS).status_code == 403
    assert hub.stored("ann/run") == set()
    assert get_session().put(href, content=iter([WEIGHTS[:7], WEIGHTS[7:]])).status_code == 200
    assert hub.stored("ann/run") == {SHA256}


def test_a_commit_names_only_stored_contents(hub):
    before = hub.add("ann/run", {})
    lines = [
        {"key": "header", "value": {"summary": "Nothing behind it"}},
        {"key": "lfsFile", "value": {"path": "m.bin", "algo": "sha256", "oid": SHA256, "size": len(WEIGHTS)}},
    ]
    answer = get_session().post(
        f"{hub.url}/api/models/ann/run/commit/main",
        headers={"Authorization": "Bearer hf_ann"},
        content="\n".join(map(json.dumps, lines)),
    )
    assert (answer.status_code, hub.heads("ann/run")) == (400, {"main": before})


# --- data sets and weights ----------------------------------------------------------------------------------------


@pytest.fixture
def images() -> Any:
    """Eight images of noise, which make a Parquet file of more than 64 KiB."""
    import numpy as np
    from datasets import ClassLabel, Dataset, Features, Image, Value

    rng = np.random.default_rng(0)
    noise = list(rng.integers(0, 256, (8, 64, 64, 3), dtype=np.uint8))
    features = Features({"image": Image(), "label": ClassLabel(names=["no", "yes"]), "id": Value("string")})
    columns = {"image": noise, "label": [0, 1] * 4, "id": [f"i{n}" for n in range(8)]}
    return Dataset.from_dict(columns, features=features)


def test_a_pushed_data_set_is_loaded_pinned_and_streamed(hub, images):
    import numpy as np
    from datasets import load_dataset

    pushed = images.push_to_hub("ann/images", split="test")
    parquet = next(data for path, data in hub.files("ann/images", repo_type="dataset").items() if "parquet" in path)
    assert len(parquet) > 65_536
    hub.add("ann/images", {"README.md": b"# Nothing\n"}, repo_type="dataset")
    loaded = load_dataset("ann/images", revision=pushed.oid, split="test")
    streamed = load_dataset("ann/images", revision=pushed.oid, split="test", streaming=True)
    assert loaded.features == images.features
    for found in (loaded, streamed):
        rows = list(found)
        assert [row["id"] for row in rows] == images["id"][:]
        assert all(np.array_equal(row["image"], other["image"]) for row, other in zip(rows, images, strict=True))
    assert any(request.status == 206 for request in asked(hub, "GET", ".parquet"))


def test_timm_creates_a_model_from_the_hub(hub, api, tmp_path):
    import timm
    import torch

    model = timm.create_model("test_resnet", num_classes=3)
    timm.models.save_for_hf(model, tmp_path / "model", safe_serialization=True)
    api.create_repo("ann/tiny")
    api.upload_folder(repo_id="ann/tiny", folder_path=tmp_path / "model")
    again = timm.create_model("hf-hub:ann/tiny", pretrained=True)
    assert again.num_classes == 3
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert asked(hub, "GET", "/ann/tiny/resolve/main/model.safetensors")


# --- a server that is killed --------------------------------------------------------------------------------------


def test_a_killed_server_goes_on_with_what_it_had(hub_process, api, folder, waits):
    api.create_repo("ann/run")
    hub_process.delay("PUT", "/storage/", 0.05)
    failed: list[Exception] = []

    def upload() -> None:
        try:
            api.upload_folder(repo_id="ann/run", folder_path=folder)
        except Exception as error:
            failed.append(error)

    client = threading.Thread(target=upload)
    client.start()
    hub_process.wait_for(lambda request: request.method == "PUT" and request.bytes_in > 100_000)
    hub_process.kill()
    client.join(timeout=30)
    assert len(failed) == 1
    assert waits == [1, 2, 4, 8, 8]
    port = hub_process.port
    hub_process.start()
    assert hub_process.port == port
    assert list(hub_process.store.incoming.iterdir()) == []
    assert (hub_process.stored("ann/run"), hub_process.commit_count("ann/run")) == (set(), 1)
    api.upload_folder(repo_id="ann/run", folder_path=folder)
    assert contents(snapshot_download("ann/run")) == hub_process.files("ann/run")
    assert hub_process.files("ann/run")["model.safetensors"] == WEIGHTS
