// The form of a setting: what depends on the scope and the addresses is asked of the server, checks run on the side.
import { enhance } from "./enhance.js";
import { ask } from "./session.js";

export function settings(root) {
  for (const form of root.querySelectorAll("form[data-setting]")) setting(form);
}

function setting(form) {
  const progress = form.querySelector("[data-progress]");
  let round = 0;

  const lists = () => {
    const off = form.elements.ipv4_disabled;
    const list = form.querySelector("[data-list='4']");
    const confirm = form.querySelector("[data-confirm-disable]");
    if (off && list) {
      list.disabled = off.checked;
      if (off.checked) for (const box of list.querySelectorAll(":checked")) box.checked = false;
    }
    if (confirm) confirm.hidden = !off?.checked;
    for (const one of form.querySelectorAll("[data-list]")) {
      const text = one.querySelector("input:not([type=checkbox])");
      const some = one.querySelector(":checked") || (text && text.value.trim());
      one.querySelector("[data-automatic]").hidden = Boolean(some) || one.disabled;
    }
  };

  const refresh = async (changed) => {
    const mine = ++round;
    const body = new URLSearchParams(new FormData(form));
    body.set("do", "refresh");
    const reply = await ask(form.action, { method: "POST", body, headers: { Accept: "text/html" } });
    if (!reply.ok || mine !== round) return;
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html").querySelector("form[data-setting]");
    for (const part of form.querySelectorAll("[data-part]")) {
      const found = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!found || part.innerHTML === found.innerHTML) continue;
      if (part.dataset.part === "lists" && part.dataset.host === form.elements.hostname.value) {
        for (const about of found.querySelectorAll(".about")) document.getElementById(about.id)?.replaceChildren(...about.childNodes);
        continue;
      }
      if (part.contains(changed)) {
        told(changed, found.querySelector(".fault"));
        continue;
      }
      const focus = part.contains(document.activeElement) ? document.activeElement.id : "";
      part.replaceChildren(...found.childNodes);
      enhance(part);
      if (focus) document.getElementById(focus)?.focus();
    }
    remember();
    lists();
    await check(mine);
  };

  // What is wrong with a field is told below it, while the field stays as it is.
  const told = (field, fault) => {
    const box = field.closest(".field");
    if (!box) return;
    box.querySelector(".fault")?.remove();
    field.toggleAttribute("aria-invalid", false);
    if (!fault) return;
    box.append(fault);
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", fault.id);
  };

  const remember = () => {
    form.querySelector("[data-part=lists]").dataset.host = form.elements.hostname.value;
  };

  // Each address is checked on its own; what comes late for an older state of the form is dropped.
  const check = async (mine) => {
    const rows = [...form.querySelectorAll("[data-part=checks] [data-address]")];
    if (!rows.length || !progress) return label();
    progress.textContent = "Checking…";
    for (const row of rows) {
      row.setAttribute("aria-busy", "true");
      row.querySelector("h4").insertAdjacentHTML("beforeend", '<span class="soft busy">Checking…</span>');
    }
    await Promise.all(rows.map(async (row) => {
      const body = new URLSearchParams(new FormData(form));
      body.set("address", row.dataset.address);
      const reply = await ask(form.dataset.check, { method: "POST", body, headers: { Accept: "text/html" } });
      if (mine !== round) return;
      row.removeAttribute("aria-busy");
      row.querySelector(".busy")?.remove();
      if (!reply.ok) return;
      const found = new DOMParser().parseFromString(await reply.text(), "text/html").querySelector("[data-dialog-content]");
      if (found) row.replaceChildren(...found.childNodes);
    }));
    if (mine !== round) return;
    const spf = form.querySelector("[data-spf]");
    const lines = [...form.querySelectorAll("[data-check-id=P20] .text")].map((one) => {
      const line = document.createElement("p");
      line.textContent = one.textContent;
      return line;
    });
    spf?.replaceChildren(...lines);
    const bad = criticals().length;
    progress.textContent = bad ? `Checks are done: ${bad} critical.` : "Checks are done: nothing critical.";
    label();
  };

  const criticals = () => [...form.querySelectorAll("[data-part=checks] [data-outcome=critical] .text")].map((one) => one.textContent);

  const label = () => {
    const save = form.querySelector("[data-save]");
    if (save) save.textContent = criticals().length ? "Save anyway…" : "Save";
  };

  const confirm = (texts) => {
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "anyway-heading");
    const heading = document.createElement("h2");
    heading.id = "anyway-heading";
    heading.textContent = "This may keep mail from being delivered";
    const list = document.createElement("ul");
    list.append(...[...new Set(texts)].map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    const buttons = document.createElement("div");
    buttons.className = "buttons";
    const cancel = Object.assign(document.createElement("button"), { type: "button", textContent: "Cancel" });
    const go = Object.assign(document.createElement("button"), { type: "button", textContent: "Save anyway", className: "danger" });
    buttons.append(go, cancel);
    dialog.append(heading, list, buttons);
    document.body.append(dialog);
    cancel.addEventListener("click", () => dialog.close());
    go.addEventListener("click", () => {
      const field = Object.assign(document.createElement("input"), { type: "hidden", name: "anyway", value: "1" });
      form.append(field);
      dialog.close();
      form.requestSubmit(form.querySelector("[data-save]"));
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      form.querySelector("[data-save]")?.focus();
    });
    dialog.showModal();
    cancel.focus();
  };

  form.addEventListener("submit", (event) => {
    const texts = criticals();
    if (!event.submitter || event.submitter.value !== "save" || form.elements.anyway || !texts.length) return;
    event.preventDefault();
    confirm(texts);
  });
  form.addEventListener("change", (event) => {
    if (["confirmed", "confirmed_host", "warm"].includes(event.target.name)) return;
    lists();
    refresh(event.target);
  });
  form.addEventListener("click", (event) => {
    const link = event.target.closest("[data-open-tab]");
    if (!link) return;
    event.preventDefault();
    form.querySelector("[role=tablist]").dispatchEvent(new CustomEvent("open-tab", { detail: Number(link.dataset.openTab) }));
  });
  form.addEventListener("of-dialog", () => refresh());
  remember();
  lists();
  if (!form.querySelector("#errors")) check(round);
}
