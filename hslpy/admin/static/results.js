// Tables of results: selection, the bulk bar, the last column that has to stay.
export function results(root) {
  for (const form of root.querySelectorAll("form[data-results]")) bulk(form);
  for (const chooser of root.querySelectorAll("details.columns")) columns(chooser);
}

function bulk(form) {
  const all = form.querySelector("[data-all]");
  const boxes = [...form.querySelectorAll("input[name=id]")];
  const action = form.querySelector("#bulk-action");
  if (!all || !action) return;
  const apply = form.querySelector("[data-apply]");
  const every = form.querySelector("[data-every]");
  const line = form.querySelector(".all-results");
  const told = form.querySelector("[data-chosen]");
  const update = () => {
    const chosen = boxes.filter((one) => one.checked).length;
    const isAll = chosen === boxes.length && chosen > 0;
    all.checked = isAll;
    all.indeterminate = chosen > 0 && !isAll;
    if (line) {
      line.hidden = !isAll;
      if (!isAll) every.checked = false;
    }
    for (const box of boxes) box.closest("tr").classList.toggle("picked", box.checked);
    told.textContent = every?.checked ? `All ${form.dataset.total || ""} results selected`.replace("  ", " ") : chosen ? `${chosen} selected` : "";
    apply.disabled = !chosen || !action.value;
  };
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    update();
  });
  for (const one of [...boxes, action, ...(every ? [every] : [])]) one.addEventListener("change", update);
  addEventListener("pageshow", update);
  update();
}

function columns(chooser) {
  const boxes = [...chooser.querySelectorAll("input[name=column]")];
  const reason = chooser.querySelector("#column-reason");
  const update = () => {
    const ticked = boxes.filter((one) => one.checked);
    for (const box of boxes) {
      const isLast = ticked.length === 1 && box.checked;
      box.toggleAttribute("data-last", isLast);
      box.setAttribute("aria-disabled", String(isLast));
      if (isLast) box.setAttribute("aria-describedby", "column-reason");
      else box.removeAttribute("aria-describedby");
    }
    reason.hidden = ticked.length > 1;
  };
  for (const box of boxes) {
    box.addEventListener("click", (event) => {
      if (box.hasAttribute("data-last")) event.preventDefault();
    });
    box.addEventListener("change", update);
  }
  update();
}
