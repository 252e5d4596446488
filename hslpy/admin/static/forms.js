// Forms: sent once, never lost with a session, and selects that send themselves.
import { isSignedIn, signInAgain } from "./session.js";

async function guard(event) {
  const form = event.target;
  const submitter = event.submitter;
  if (event.defaultPrevented || form.method !== "post" || form.action.endsWith("/sign-in") || submitter?.dataset.sent) return;
  if (form.dataset.sending) {
    event.preventDefault(); // a second press
    return;
  }
  event.preventDefault();
  form.dataset.sending = "1";
  const isIn = (await isSignedIn()) || (await signInAgain());
  if (!isIn) {
    delete form.dataset.sending;
    return;
  }
  const proxy = submitter || form;
  if (submitter) submitter.dataset.sent = "1";
  else form.dataset.sent = "1";
  submitter ? form.requestSubmit(submitter) : form.submit();
  const stays = form.hasAttribute("data-downloads") || form.dataset.plain?.split(" ").includes(form.elements.do?.value);
  if (stays) setTimeout(() => delete form.dataset.sending, 2000); // a file came, the page is still here
  delete proxy.dataset.sent;
  if (submitter && !stays) submitter.setAttribute("aria-disabled", "true");
}

// A file that is sent leaves the page where it is: the form may be sent again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sending]")) delete form.dataset.sending;
});

export function forms(root) {
  for (const select of root.querySelectorAll("select[data-submit]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
  if (root === document) document.addEventListener("submit", guard);
}
