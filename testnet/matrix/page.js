"use strict";
// Arrow keys lead from cell to cell, Escape from a ladder back to its cell.
// Without this script Tab and the links do the same.
document.getElementById("keys").hidden = false;
const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
addEventListener("keydown", e => {
  if (e.ctrlKey || e.altKey || e.metaKey || e.shiftKey) return;
  const ladder = document.querySelector(".ladder:target");
  if (e.key === "Escape" && ladder) {
    const cell = ladder.id.replace("ladder", "cell");
    location.hash = cell;
    document.querySelector("#" + cell + " a").focus();
    return;
  }
  const step = steps[e.key];
  let cell = document.activeElement.closest("td");
  if (!step || !cell) return;
  e.preventDefault();
  const { rows } = cell.closest("table");
  do {
    cell = rows[cell.parentElement.rowIndex + step[0]]?.cells[cell.cellIndex + step[1]];
  } while (cell && !cell.querySelector("a"));
  cell?.querySelector("a").focus();
});
