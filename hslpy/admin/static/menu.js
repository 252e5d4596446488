// Menus of rows: a button with a menu, as the ARIA Authoring Practices have it. Without this script they are <details>.
let open = null;
let typed = "";
let typedAt = 0;

function close(focus) {
  if (!open) return;
  const { button, menu } = open;
  open = null;
  menu.hidden = true;
  button.setAttribute("aria-expanded", "false");
  if (focus) button.focus();
}

function place(button, menu) {
  const box = button.getBoundingClientRect();
  menu.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = box.bottom + 4 + height <= innerHeight || box.top < height;
  menu.style.left = `${Math.max(4, Math.min(box.left, innerWidth - width - 4))}px`;
  menu.style.top = `${below ? Math.min(box.bottom + 4, Math.max(4, innerHeight - height - 4)) : box.top - height - 4}px`;
}

function show(button, menu, last) {
  close(false);
  typed = "";
  place(button, menu);
  button.setAttribute("aria-expanded", "true");
  open = { button, menu };
  const items = itemsOf(menu);
  (last ? items.at(-1) : items[0])?.focus({ preventScroll: true });
}

function itemsOf(menu) {
  return [...menu.querySelectorAll("[role=menuitem]")];
}

function byKey(event, button, menu) {
  const items = itemsOf(menu);
  const at = items.indexOf(document.activeElement);
  const moves = { ArrowDown: (at + 1) % items.length, ArrowUp: (at - 1 + items.length) % items.length, Home: 0, End: items.length - 1 };
  if (event.key in moves) items[moves[event.key]].focus({ preventScroll: true });
  else if (event.key === "Escape") close(true);
  else if (event.key === "Tab") return close(true);
  else if (event.key === " ") document.activeElement.click();
  else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey) {
    typed = event.timeStamp - typedAt < 700 ? typed + event.key.toLowerCase() : event.key.toLowerCase();
    typedAt = event.timeStamp;
    const order = [...items.slice(at + (typed.length === 1 ? 1 : 0)), ...items];
    order.find((one) => one.textContent.trim().toLowerCase().startsWith(typed))?.focus({ preventScroll: true });
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

export function menus(root) {
  for (const details of root.querySelectorAll("details.menu")) {
    const box = document.createElement("div");
    box.className = "menu";
    const button = document.createElement("button");
    const label = details.querySelector("summary").getAttribute("aria-label");
    button.type = "button";
    button.append(...details.querySelector("summary").childNodes);
    button.setAttribute("aria-label", label);
    button.setAttribute("aria-haspopup", "menu");
    button.setAttribute("aria-expanded", "false");
    const menu = document.createElement("div");
    menu.setAttribute("role", "menu");
    menu.setAttribute("aria-label", label);
    menu.hidden = true;
    for (const item of details.querySelectorAll("li > a, li > button")) {
      item.setAttribute("role", "menuitem");
      item.tabIndex = -1;
      menu.append(item);
    }
    box.append(button, menu);
    details.replaceWith(box);
    button.addEventListener("click", () => (open?.menu === menu ? close(true) : show(button, menu, false)));
    button.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
      event.preventDefault();
      show(button, menu, event.key === "ArrowUp");
    });
    menu.addEventListener("keydown", (event) => byKey(event, button, menu));
    menu.addEventListener("click", () => close(true));
  }
  if (root !== document) return;
  document.addEventListener("pointerdown", (event) => {
    if (open && !open.menu.contains(event.target) && !open.button.contains(event.target)) close(false);
  });
  document.addEventListener("scroll", (event) => {
    if (open && !open.menu.contains(event.target)) place(open.button, open.menu);
  }, { capture: true, passive: true });
  addEventListener("resize", () => open && place(open.button, open.menu));
}
