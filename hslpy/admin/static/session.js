// The session of this page: its token, and signing in again when it is over.
export function token() {
  return document.body.dataset.csrf || "";
}

function renew(csrf) {
  document.body.dataset.csrf = csrf;
  for (const field of document.querySelectorAll("input[name=csrf]")) field.value = csrf;
}

// Asks our own server. Gives the reply; where the session is over, asks to sign in and then once more.
export async function ask(address, options = {}) {
  const headers = { Accept: "application/json", "X-Dialog": "1", "X-CSRF-Token": token(), ...(options.headers || {}) };
  const reply = await fetch(address, { credentials: "same-origin", ...options, headers });
  if (reply.status !== 401 || address.startsWith("/sign-in")) return reply;
  if (!(await signInAgain())) return reply;
  if (options.body instanceof FormData && options.body.has("csrf")) options.body.set("csrf", token());
  if (options.body instanceof URLSearchParams && options.body.has("csrf")) options.body.set("csrf", token());
  return ask(address, options);
}

export async function isSignedIn() {
  const reply = await fetch("/session", { headers: { Accept: "application/json" }, credentials: "same-origin" });
  if (!reply.ok) return reply.status !== 401;
  renew((await reply.json()).csrf);
  return true;
}

// Gives whether somebody has signed in. What stands in the page's forms stays as it is.
export function signInAgain() {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "again-heading");
  dialog.innerHTML = `
    <form method="dialog" class="panel"><h2 id="again-heading">Your session is over</h2>
    <p>Sign in again to go on. What you entered is kept.</p>
    <p class="fault" role="alert" hidden></p>
    <div class="field"><label for="again-name">Name</label><input id="again-name" name="name" autocomplete="username" required></div>
    <div class="field"><label for="again-password">Password</label><input id="again-password" name="password" type="password" autocomplete="current-password" required></div>
    <div class="buttons"><button class="primary" value="in">Sign in</button><button type="button" data-close>Cancel</button></div></form>`;
  const name = document.querySelector(".who .name");
  dialog.querySelector("[name=name]").value = name ? name.textContent.trim() : "";
  document.body.append(dialog);
  const form = dialog.querySelector("form");
  const before = document.activeElement;
  return new Promise((resolve) => {
    let done = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const body = new URLSearchParams(new FormData(form));
      const reply = await fetch("/sign-in", { method: "POST", body, headers: { "X-Dialog": "1" }, credentials: "same-origin" });
      const answer = await reply.json();
      if (reply.ok) {
        renew(answer.csrf);
        done = true;
        dialog.close();
      } else {
        const fault = form.querySelector(".fault");
        fault.textContent = answer.error;
        fault.hidden = false;
        form.querySelector("[name=password]").select();
      }
    });
    form.querySelector("[data-close]").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before && before.focus) before.focus();
      resolve(done);
    });
    dialog.showModal();
    form.querySelector(form.elements.name.value ? "[name=password]" : "[name=name]").focus();
  });
}
