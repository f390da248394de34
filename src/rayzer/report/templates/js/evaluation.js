// Ties the table of scenes to the scene that is shown.

const table = new SceneTable(document.querySelector("[data-scene-table]"));
const details = new SceneDetails(document.querySelector("[data-scene-details]"));
let chosen = null;

function choose(number) {
  chosen = number;
  table.mark(number);
  const order = table.order();
  const place = order.indexOf(number);
  details.show(number, place < 0 ? "Scene" : `Scene ${place + 1} of ${order.length}`);
}

// Chosen by the reader: go there, for the keyboard too.
function goTo(number) {
  choose(number);
  details.root.scrollIntoView({ block: "start" });
  details.title.focus({ preventScroll: true });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-choose-scene]");
  const row = event.target.closest("tbody tr[data-scene]");
  if (button) goTo(Number(button.dataset.chooseScene));
  else if (row) goTo(Number(row.dataset.scene));
});

document.querySelector("[data-stepper]").addEventListener("click", (event) => {
  const by = { next: 1, previous: -1 }[event.target.closest("[data-action]")?.dataset.action];
  const order = table.order();
  if (!by || !order.length) return;
  const place = order.indexOf(chosen);
  choose(order[place < 0 ? 0 : (place + by + order.length) % order.length]);
});

if (table.rows.length) choose(Number(table.root.dataset.first));
