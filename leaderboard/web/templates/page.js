'use strict';

(() => {
  document.documentElement.classList.add('js');

  const all = (root, selector) => Array.from(root.querySelectorAll(selector));

  // -- tabs: links to panels without this script, the ARIA tabs pattern with it

  function startTabs() {
    const panels = all(document, '[data-panel]');
    const tabs = all(document, '[data-tab]');
    if (panels.length === 0) return;
    if (tabs.length === 0) {
      panels[0].classList.add('shown');
      return;
    }
    const list = tabs[0].closest('ul');
    list.setAttribute('role', 'tablist');
    list.setAttribute('aria-label', 'Tables');
    tabs.forEach((tab, i) => {
      tab.parentElement.setAttribute('role', 'presentation');
      tab.setAttribute('role', 'tab');
      tab.setAttribute('aria-controls', panels[i].id);
      panels[i].setAttribute('role', 'tabpanel');
      panels[i].setAttribute('aria-labelledby', tab.id);
      panels[i].tabIndex = -1;
    });

    function choose(index, focus) {
      tabs.forEach((tab, i) => {
        tab.setAttribute('aria-selected', String(i === index));
        tab.tabIndex = i === index ? 0 : -1;
        panels[i].classList.toggle('shown', i === index);
      });
      if (focus) tabs[index].focus();
    }

    function named() {
      return panels.findIndex((panel) => '#' + panel.id === location.hash);
    }

    function remember(index) {
      // Some viewers of local files forbid it; the tab has changed all the same.
      try { history.replaceState(null, '', '#' + panels[index].id); } catch (error) { void error; }
    }

    tabs.forEach((tab, i) => {
      tab.addEventListener('click', (event) => {
        event.preventDefault();
        choose(i, true);
        remember(i);
      });
      tab.addEventListener('keydown', (event) => {
        const last = tabs.length - 1;
        const next = {
          ArrowRight: i === last ? 0 : i + 1, ArrowLeft: i === 0 ? last : i - 1, Home: 0, End: last, ' ': i,
        }[event.key];
        if (next === undefined) return;
        event.preventDefault();
        choose(next, true);
        remember(next);
      });
    });
    window.addEventListener('hashchange', () => { if (named() >= 0) choose(named(), false); });
    choose(Math.max(named(), 0), false);
  }

  // -- one board: sorting, filtering, columns, details

  function startBoard(form) {
    const table = document.getElementById(form.dataset.for);
    const heads = all(table.tHead, 'th');
    const groups = all(table, 'tbody[data-group]');
    const nothing = table.querySelector('tbody.none');
    const sortBy = form.querySelector('[data-sort-by]');
    const keepGroups = form.querySelector('[data-groups]');
    const search = form.querySelector('[data-filter]');
    const hideControls = form.querySelector('[data-hide-controls]');
    const count = form.querySelector('[data-count]');
    const methods = groups.flatMap((home) => all(home, 'tr.method').map((row) => (
      { row, home, details: row.nextElementSibling, button: row.querySelector('.more') }
    )));
    methods.forEach((method, i) => { method.place = i; });
    let order = null;

    function value(method) {
      const cell = method.row.querySelector(`[data-col="${order.column}"]`);
      const text = cell && cell.dataset.value;
      if (text === undefined || text === null) return null;
      return order.column === 'method' ? text.toLowerCase() : Number(text);
    }

    function compare(a, b) {
      if (!order) return a.place - b.place;
      const [x, y] = [value(a), value(b)];
      // What has no value stands last in both directions.
      if (x === null || y === null) return (x === null) - (y === null) || a.place - b.place;
      const sign = order.direction === 'ascending' ? 1 : -1;
      return (x < y ? -sign : x > y ? sign : 0) || a.place - b.place;
    }

    function arrange() {
      const grouped = keepGroups.checked;
      methods.slice().sort(compare).forEach((method) => {
        (grouped ? method.home : groups[0]).append(method.row, method.details);
        method.row.classList.toggle('notch', grouped && !order && method.notch);
      });
      groups.forEach((group, i) => group.classList.toggle(group.dataset.group, grouped || i > 0));
      heads.forEach((head) => {
        if (order && head.dataset.col === order.column) head.setAttribute('aria-sort', order.direction);
        else head.removeAttribute('aria-sort');
      });
      sortBy.value = order && order.column !== 'method' ? order.column : '';
      filter();
    }

    function filter() {
      const words = search.value.trim().toLowerCase();
      const kinds = new Set(all(form, '[data-kind]:checked').map((box) => box.dataset.kind));
      let shown = 0;
      methods.forEach((method) => {
        const { kind, name } = method.row.dataset;
        const fits = name.toLowerCase().includes(words)
          && (kind === 'control' ? !hideControls.checked : kinds.has(kind));
        method.row.hidden = !fits;
        method.details.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      groups.forEach((group) => {
        const heading = group.querySelector('tr.group');
        heading.hidden = !keepGroups.checked || all(group, 'tr.method:not([hidden])').length === 0;
      });
      nothing.hidden = shown > 0;
      count.textContent = `${shown} of ${methods.length} methods shown`;
    }

    function sort(column, direction) {
      order = column ? { column, direction } : null;
      arrange();
    }

    methods.forEach((method) => {
      method.notch = method.row.classList.contains('notch');
      method.button.addEventListener('click', () => {
        const open = method.details.classList.toggle('open');
        method.button.setAttribute('aria-expanded', String(open));
      });
    });
    heads.forEach((head) => {
      head.querySelector('button').addEventListener('click', () => {
        const again = order && order.column === head.dataset.col;
        const other = { ascending: 'descending', descending: 'ascending' };
        sort(head.dataset.col, again ? other[order.direction] : head.dataset.first);
      });
    });
    sortBy.addEventListener('change', () => {
      const head = heads.find((one) => one.dataset.col === sortBy.value);
      sort(sortBy.value, head && head.dataset.first);
    });
    keepGroups.addEventListener('change', arrange);
    search.addEventListener('input', filter);
    [hideControls, ...all(form, '[data-kind]')].forEach((box) => box.addEventListener('change', filter));
    all(form, '[data-column]').forEach((box) => box.addEventListener('change', () => {
      all(table, `:scope > thead [data-col="${box.dataset.column}"], tr.method > [data-col="${box.dataset.column}"]`)
        .forEach((cell) => { cell.hidden = !box.checked; });
    }));
    form.querySelector('[data-reset]').addEventListener('click', () => {
      form.reset();
      all(form, '[data-column]').forEach((box) => box.dispatchEvent(new Event('change')));
      sort(null);
    });
    form.addEventListener('submit', (event) => event.preventDefault());
    // A list of columns that stays open hides the table below it.
    const choose = form.querySelector('.choose');
    document.addEventListener('click', (event) => { if (!choose.contains(event.target)) choose.open = false; });
    choose.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      choose.open = false;
      choose.querySelector('summary').focus();
    });
    filter();
  }

  // -- gallery: one cell enlarged

  function startGallery() {
    const dialog = document.querySelector('dialog.large');
    const place = dialog.querySelector('[data-large]');
    const title = dialog.querySelector('h2');

    function figure(tile, name, note) {
      const made = document.createElement('figure');
      const caption = document.createElement('figcaption');
      const strong = document.createElement('b');
      const small = document.createElement('span');
      strong.textContent = name;
      small.textContent = note;
      caption.append(strong, small);
      made.append(tile.cloneNode(true), caption);
      return made;
    }

    document.addEventListener('click', (event) => {
      const button = event.target.closest('.enlarge');
      if (!button) return;
      const cell = button.closest('td');
      const pair = cell.closest('table').tHead.rows[0].cells[cell.cellIndex].querySelectorAll('.tile');
      title.textContent = button.dataset.title;
      place.replaceChildren(
        figure(pair[0], 'image', ''),
        ...[pair[1], ...button.parentElement.querySelectorAll('.tile')]
          .map((tile) => figure(tile, tile.dataset.name, tile.dataset.note)),
      );
      dialog.showModal();
    });
    dialog.querySelector('[data-close]').addEventListener('click', () => dialog.close());
    dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  }

  document.addEventListener('DOMContentLoaded', () => {
    startTabs();
    all(document, '.filters').forEach(startBoard);
    startGallery();
  });
})();
