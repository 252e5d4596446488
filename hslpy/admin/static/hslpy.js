// The script of all pages.
import { dialogs } from "./dialog.js";
import { add, enhance } from "./enhance.js";
import { forms } from "./forms.js";
import { matrix } from "./matrix.js";
import { menus } from "./menu.js";
import { previews } from "./preview.js";
import { results } from "./results.js";
import { rules } from "./rules.js";
import { settings } from "./setting.js";
import { tabs } from "./tabs.js";

add(
  dialogs,
  forms,
  matrix,
  menus,
  previews,
  results,
  rules,
  settings,
  tabs,
);
enhance(document);

const summary = document.getElementById("errors");
if (summary) summary.focus();

const button = document.querySelector(".nav-button");
if (button) {
  const side = document.getElementById("side");
  button.addEventListener("click", () => {
    const isOpen = side.classList.toggle("open");
    button.setAttribute("aria-expanded", String(isOpen));
  });
}
