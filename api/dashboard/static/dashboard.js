// Shows what the form would find while somebody types. Without it the form does the same when it is sent.
const form = document.querySelector("form[role=search]");
const box = form?.elements.search;
let timer, request;

async function show() {
  request?.abort();
  request = new AbortController();
  const address = "?" + new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  const response = await fetch(address, { signal: request.signal });
  if (!response.ok) return;
  const found = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of ["heading", "shown"]) {
    document.getElementById(part).replaceWith(found.getElementById(part));
  }
  document.title = found.title;
  history.replaceState(null, "", address);
  form.querySelector("[role=status]").textContent = document.querySelector(".lede").textContent;
}

box?.addEventListener("input", () => {
  clearTimeout(timer);
  // A word is typed at about five letters a second.
  timer = setTimeout(() => show().catch(() => {}), 150);
});
