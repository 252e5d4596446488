// What makes a piece of a page livelier: each part takes the elements it knows. Pages work without any of it.
const parts = [];

export function add(...more) {
  parts.push(...more);
}

export function enhance(root) {
  for (const part of parts) part(root);
}
