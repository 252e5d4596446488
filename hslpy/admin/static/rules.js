// Query rules: added, changed and removed without asking the server.
export function rules(root) {
  for (const form of root.querySelectorAll("form[data-rules]")) panel(form);
}

function panel(form) {
  const known = JSON.parse(form.dataset.rules);
  const list = form.querySelector(".rule-list");
  const none = form.querySelector(".no-rules");

  const wire = (rule) => {
    const [field, operator] = rule.querySelectorAll("select");
    const fit = (fresh) => {
      const { kind, choices } = known.fields[field.value];
      const operators = known.operators[{ text: "Text", choice: "Choice", address: "Address", number: "Number", date: "Date" }[kind]];
      const before = operator.value;
      operator.replaceChildren(...operators.map((one) => new Option(one, one, false, one === before)));
      const old = rule.querySelector("[name=v]");
      const value = choices.length ? document.createElement("select") : document.createElement("input");
      if (choices.length) value.append(...choices.map(([one, word]) => new Option(word, one, false, one === old.value)));
      else {
        value.value = fresh ? "" : old.value;
        value.autocomplete = "off";
        value.placeholder = { date: "2026-03-31", number: "10", address: "" }[kind] || "";
      }
      for (const { name, value: text } of old.attributes) {
        if (name.startsWith("aria-") || name === "name") value.setAttribute(name, text);
      }
      old.replaceWith(value);
      hint();
    };
    const hint = () => {
      const value = rule.querySelector("[name=v]");
      value.hidden = operator.value === "is empty" || operator.value === "is not empty";
      if (operator.value === "is in network") value.placeholder = "192.0.2.0/24";
      if (operator.value === "between") value.placeholder = "1, 5";
      if (operator.value === "is one of") value.placeholder = "one, another";
    };
    field.addEventListener("change", () => fit(true));
    operator.addEventListener("change", hint);
    rule.querySelector(".remove-rule").addEventListener("click", (event) => {
      event.preventDefault();
      const next = rule.nextElementSibling || rule.previousElementSibling;
      rule.remove();
      (next ? next.querySelector("select") : form.querySelector(".add-rule")).focus();
      number();
    });
    fit(false);
  };
  const number = () => {
    [...list.children].forEach((rule, index) => {
      rule.querySelector("select").setAttribute("aria-label", `Field of rule ${index + 1}`);
      rule.querySelector(".remove-rule").setAttribute("aria-label", `Remove rule ${index + 1}`);
    });
    if (none) none.hidden = list.children.length > 0;
  };

  form.querySelector(".add-rule").addEventListener("click", (event) => {
    event.preventDefault();
    const rule = form.querySelector("template").content.firstElementChild.cloneNode(true);
    list.append(rule);
    wire(rule);
    number();
    rule.querySelector("select").focus();
  });
  for (const rule of list.children) wire(rule);
  number();

  const saving = form.parentElement.querySelector("form[data-save-filter]");
  saving?.addEventListener("submit", () => {
    saving.elements.query.value = new URLSearchParams(new FormData(form)).toString();
  }, { capture: true });
}
