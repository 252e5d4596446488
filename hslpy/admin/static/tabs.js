// Tabs, as the ARIA Authoring Practices have them: arrows move, Enter or Space opens (manual activation).
export function tabs(root) {
  for (const nav of root.querySelectorAll("[data-tabs]")) {
    nav.dataset.tabs === "links" ? links(nav) : panels(nav);
  }
}

function keys(list, items) {
  list.addEventListener("keydown", (event) => {
    const enabled = items.filter((one) => one.getAttribute("aria-disabled") !== "true");
    const at = enabled.indexOf(document.activeElement);
    const moves = { ArrowRight: (at + 1) % enabled.length, ArrowLeft: (at - 1 + enabled.length) % enabled.length, Home: 0, End: enabled.length - 1 };
    if (event.key === " " && document.activeElement.matches("a")) document.activeElement.click();
    else if (event.key in moves) {
      enabled[moves[event.key]].focus();
    } else return;
    event.preventDefault();
  });
}

// Tabs of a page, each with its address.
function links(nav) {
  const items = [...nav.querySelectorAll("a")];
  const panel = nav.nextElementSibling?.matches("[data-panel]") ? nav.nextElementSibling : null;
  const label = nav.getAttribute("aria-label");
  nav.removeAttribute("aria-label");
  nav.setAttribute("role", "presentation");
  const list = document.createElement("div");
  list.className = nav.className;
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", label);
  items.forEach((one, index) => {
    const isHere = one.hasAttribute("aria-current");
    one.removeAttribute("aria-current");
    one.setAttribute("role", "tab");
    one.id ||= `tab-${index}`;
    one.setAttribute("aria-selected", String(isHere));
    one.tabIndex = isHere ? 0 : -1;
    if (isHere && panel) {
      panel.id ||= "tab-panel";
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", one.id);
      one.setAttribute("aria-controls", panel.id);
    }
    list.append(one);
  });
  nav.replaceWith(list);
  keys(list, items);
}

// Tabs within a form: `data-tabs="panels"` on an empty element, its panels named by `data-tab` among its later siblings.
function panels(nav) {
  const all = [...nav.parentElement.querySelectorAll(":scope > [data-tab]")];
  nav.setAttribute("role", "tablist");
  const items = all.map((panel, index) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `${panel.id}-tab`;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    tab.textContent = panel.dataset.tab;
    if (panel.dataset.off) {
      tab.setAttribute("aria-disabled", "true");
      tab.title = panel.dataset.off;
    }
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => select(index));
    nav.append(tab);
    return tab;
  });
  const dots = () => all.forEach((panel, index) => {
    const others = [...panel.querySelectorAll("input[name^=other]")];
    const has = panel.querySelector("input:checked:not([data-no-dot])") !== null || others.some((one) => one.value.trim());
    items[index].querySelector(".has")?.remove();
    if (has) {
      const dot = document.createElement("span");
      dot.className = "has";
      dot.innerHTML = '<span class="sr">has choices</span>';
      items[index].append(" ", dot);
    }
  });
  const select = (index) => {
    items.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === index));
      tab.tabIndex = at === index ? 0 : -1;
      all[at].hidden = at !== index;
    });
    nav.dispatchEvent(new CustomEvent("tab", { bubbles: true, detail: all[index].id }));
  };
  nav.addEventListener("open-tab", (event) => {
    select(event.detail);
    items[event.detail].focus();
  });
  keys(nav, items);
  const faulty = all.findIndex((panel) => panel.querySelector(".fault:not([hidden])"));
  select(Math.max(0, faulty));
  dots();
  nav.parentElement.addEventListener("change", dots);
}
