// Pages shown within the page that there is: links with `data-dialog`, and what forms with `data-dialog-form` lead to.
import { enhance } from "./enhance.js";
import { ask } from "./session.js";

export async function show(reply, opener) {
  const text = await reply.text();
  if ((reply.headers.get("content-type") || "").includes("json")) {
    const answer = JSON.parse(text);
    const dialog = document.querySelector("dialog.of-page");
    const form = dialog && document.querySelector("form[data-setting]");
    if (!answer.location) say(answer.error);
    else if (!form) location.assign(answer.location);
    else { // what is being entered stays
      dialog.close();
      form.dispatchEvent(new CustomEvent("of-dialog"));
    }
    return;
  }
  const found = new DOMParser().parseFromString(text, "text/html").querySelector("[data-dialog-content]");
  if (!found) {
    location.assign(reply.url);
    return;
  }
  const old = document.querySelector("dialog.of-page");
  const dialog = document.createElement("dialog");
  dialog.className = `of-page ${found.dataset.dialogContent}`;
  const heading = found.querySelector("h1, h2");
  if (heading) {
    heading.id ||= "dialog-heading";
    dialog.setAttribute("aria-labelledby", heading.id);
  }
  dialog.append(found);
  document.body.append(dialog);
  const back = old?.opener || opener;
  if (old) {
    old.silent = true;
    old.close();
  }
  dialog.opener = back;
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (!dialog.silent && back?.isConnected) back.focus();
  });
  for (const cancel of found.querySelectorAll("[data-cancel]")) {
    cancel.addEventListener("click", (event) => {
      event.preventDefault();
      dialog.close();
    });
  }
  enhance(dialog);
  dialog.showModal();
  (found.querySelector("#errors") || found.querySelector("[autofocus]"))?.focus();
}

export function say(text) {
  const box = document.createElement("dialog");
  const line = document.createElement("p");
  line.textContent = text;
  const form = document.createElement("form");
  form.method = "dialog";
  const button = document.createElement("button");
  button.textContent = "Close";
  form.append(button);
  box.append(line, form);
  box.setAttribute("aria-label", "Message");
  document.body.append(box);
  box.addEventListener("close", () => box.remove());
  box.showModal();
}

async function send(form, submitter) {
  const body = new FormData(form, submitter);
  const hasFile = [...body.values()].some((one) => one instanceof File);
  const address = submitter?.hasAttribute("formaction") ? submitter.formAction : form.action;
  return ask(address, { method: "POST", body: hasFile ? body : new URLSearchParams(body), headers: { Accept: "text/html" } });
}

export function dialogs(root) {
  for (const link of root.querySelectorAll("a[data-dialog]")) {
    link.addEventListener("click", async (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const opener = link.closest(".menu")?.querySelector("button") || link;
      await show(await ask(link.href, { headers: { Accept: "text/html" } }), opener);
    });
  }
  for (const form of root.querySelectorAll("form[data-dialog-form], dialog.of-page form[method=post]")) {
    form.addEventListener("submit", async (event) => {
      const { submitter } = event;
      if (form.dataset.plain?.split(" ").includes(form.elements.do?.value)) return; // a file comes of it
      event.preventDefault();
      if (form.dataset.sending) return;
      form.dataset.sending = "1";
      try {
        await show(await send(form, submitter), submitter || form);
      } finally {
        delete form.dataset.sending;
      }
    });
  }
}
