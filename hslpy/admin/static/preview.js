// A file that was selected is shown at once as what it comes to.
export function previews(root) {
  for (const form of root.querySelectorAll("form[data-preview]")) {
    form.querySelector("input[type=file]")?.addEventListener("change", (event) => {
      if (event.target.files.length) form.requestSubmit(form.querySelector("[data-preview-button]"));
    });
  }
}
