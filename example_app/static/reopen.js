// On the page "closed": try every two seconds whether the shop is open again, and reload.
const page = document.querySelector("[data-again]");

async function look() {
  const answer = await fetch(page.dataset.again, { cache: "no-store" }).catch(() => null);
  if (answer?.ok) location.replace(page.dataset.again);
}

page.querySelector(".waiting").hidden = false;
setInterval(look, 2000);
