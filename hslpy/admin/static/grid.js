// A table as an ARIA grid: one tab stop, arrows between cells, Home and End, Ctrl+Home and Ctrl+End.
// In a cell with several things in it the cell itself is the stop: Enter presses `open`, Space presses `act`.
const WIDGETS = "a[href], button, input, select";

export function grid(table, { open, act }) {
  table.setAttribute("role", "grid");
  const rows = [...table.rows].map((row) => [...row.cells]);
  const stopOf = (cell) => {
    const widgets = [...cell.querySelectorAll(WIDGETS)].filter((one) => !one.closest("[role=menu]"));
    return widgets.length === 1 && !cell.querySelector(open) ? widgets[0] : cell;
  };
  const stops = new Map();
  for (const cell of rows.flat()) {
    for (const one of cell.querySelectorAll(WIDGETS)) one.tabIndex = -1;
    const stop = stopOf(cell);
    stop.tabIndex = -1;
    stops.set(cell, stop);
  }
  const first = table.querySelector(`td:has(${open})`) || rows[0][0];
  let here = first;
  stops.get(here).tabIndex = 0;

  const settle = (cell) => {
    if (!stops.has(cell) || cell === here) return;
    stops.get(here).tabIndex = -1;
    here = cell;
    stops.get(here).tabIndex = 0;
  };
  table.addEventListener("focusin", (event) => {
    const cell = event.target.closest("td, th");
    settle(cell);
    if (event.target.matches(open)) stops.get(cell)?.focus({ preventScroll: true }); // a dialog gives it back
  });
  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td, th");
    if (event.defaultPrevented || !stops.has(cell) || event.target.closest("[role=menu]") || event.altKey) return;
    const y = rows.findIndex((row) => row.includes(cell));
    const x = rows[y].indexOf(cell);
    const all = event.ctrlKey || event.metaKey;
    const to = {
      ArrowRight: [y, x + 1],
      ArrowLeft: [y, x - 1],
      ArrowDown: [y + 1, x],
      ArrowUp: [y - 1, x],
      Home: [all ? 0 : y, 0],
      End: [all ? rows.length - 1 : y, rows[y].length - 1],
      PageDown: [Math.min(y + 10, rows.length - 1), x],
      PageUp: [Math.max(y - 10, 0), x],
    }[event.key];
    if (to) {
      const next = rows[to[0]]?.[to[1]];
      if (next) {
        settle(next);
        stops.get(next).focus();
        next.scrollIntoView({ block: "nearest", inline: "nearest" });
      }
    } else if (event.target === cell && event.key === "Enter") cell.querySelector(open)?.click();
    else if (event.target === cell && event.key === " ") cell.querySelector(act)?.click();
    else if (event.key !== "Enter" || event.target.type !== "checkbox") return; // Enter in a tick box would press the first button
    event.preventDefault();
  });
}
