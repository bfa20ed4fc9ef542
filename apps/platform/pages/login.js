const form = document.querySelector("#login");
const fault = document.querySelector("#fault");
const why = document.querySelector("#why");
const button = form.querySelector("button");

const REASONS = {
  ended: "Your log-in has ended: the server was restarted, or 12 hours have passed. Log in again.",
  out: "You are logged out.",
};
const reason = REASONS[location.hash.slice(1)];
if (reason !== undefined) {
  why.textContent = reason;
  why.hidden = false;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  fault.hidden = true;
  button.disabled = true;
  const said = await logIn(form.password.value);
  button.disabled = false;
  if (said === undefined) return location.replace("/");
  fault.textContent = said;
  fault.hidden = false;
  form.password.select();
});

/** What went wrong; `undefined`: nothing. */
async function logIn(password) {
  try {
    const answer = await fetch("/login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ password }),
    });
    return answer.ok ? undefined : (await answer.json()).detail;
  } catch {
    return "The server does not answer. Is it running?";
  }
}
