// Sorts the table of scenes by a heading, filters it by name, and tells the page which scene was chosen.

class SceneTable {
  constructor(root) {
    this.root = root;
    this.body = root.querySelector("tbody");
    this.rows = [...this.body.rows];
    this.count = root.querySelector("[data-count]");
    root.querySelector("thead").addEventListener("click", (event) => this.sort(event.target.closest("[data-sort]")));
    root.querySelector("[data-filter]").addEventListener("input", (event) => this.filter(event.target.value));
  }

  // Numbers: high to low first; names: from A to Z first. The same heading again turns the order.
  sort(button) {
    if (!button) return;
    const column = Number(button.dataset.sort);
    const heading = button.closest("th");
    const turned = { ascending: "descending", descending: "ascending" }[heading.ariaSort];
    const order = turned ?? (column ? "descending" : "ascending");
    for (const other of this.root.querySelectorAll("thead th")) other.ariaSort = other === heading ? order : "none";
    this.rows.sort(this.comparer(column, order === "ascending" ? 1 : -1));
    this.body.append(...this.rows);
  }

  // Missing numbers come last either way.
  comparer(column, sign) {
    const value = (row) => row.cells[column].dataset.value;
    if (!column) return (a, b) => sign * value(a).localeCompare(value(b), undefined, { numeric: true });
    return (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (x - y);
    };
  }

  filter(text) {
    const wanted = text.trim().toLowerCase();
    for (const row of this.rows) row.hidden = !row.cells[0].dataset.value.toLowerCase().includes(wanted);
    const shown = this.order().length;
    const total = `${this.rows.length} scene${this.rows.length === 1 ? "" : "s"}`;
    this.count.textContent = shown < this.rows.length ? `${shown} of ${total}` : total;
  }

  // Numbers of the scenes as they are listed now.
  order() {
    return this.rows.filter((row) => !row.hidden).map((row) => Number(row.dataset.scene));
  }

  mark(number) {
    for (const row of this.rows) {
      if (Number(row.dataset.scene) === number) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    this.reveal(this.rows.find((row) => row.hasAttribute("aria-current")));
  }

  // Scrolls the frame, never the page.
  reveal(row) {
    const frame = this.body.closest(".table-frame");
    const [top, bottom] = [row.offsetTop - this.body.offsetTop, row.offsetTop + row.offsetHeight];
    if (top < frame.scrollTop) frame.scrollTop = top;
    else if (bottom > frame.scrollTop + frame.clientHeight) frame.scrollTop = bottom - frame.clientHeight;
  }
}
