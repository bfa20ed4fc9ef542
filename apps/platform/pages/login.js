const form = document.querySelector("#login");
const fault = document.querySelector("#fault");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  fault.textContent = "";
  const answer = await fetch("/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ password: form.password.value }),
  });
  if (answer.ok) {
    location.href = "/";
    return;
  }
  const { detail } = await answer.json();
  fault.textContent = detail;
  form.password.select();
});
