// The page's connection to its server: connecting > live > lost > live, or to the log-in form when the log-in has ended.

const pill = document.querySelector("#link");
const banner = document.querySelector("#lost");

/**
 * Calls `refresh` again and again, and keeps the stream of events open, into which `listen` hooks what it wants to hear.
 * While the server does not answer the page says so, and what it shows is marked as old.
 */
export function keepConnected({ refresh, listen }) {
  let stream;
  let lostAt;

  const open = () => {
    stream?.close();
    stream = new EventSource("/api/v1/events");
    listen(stream);
    stream.addEventListener("open", () => show("live"));
    stream.addEventListener("error", () => {
      show("reconnecting");
      void look();
    });
  };

  const show = (state) => {
    pill.textContent = state === "live" ? "live" : "reconnecting…";
    pill.className = state === "live" ? "pill live" : "pill";
  };

  const lost = () => {
    lostAt ??= new Date();
    banner.textContent = `The server has not answered since ${lostAt.toLocaleTimeString()}. What you see is from before. Trying again…`;
    banner.hidden = false;
    document.body.classList.add("stale");
    show("reconnecting");
  };

  const found = () => {
    if (stream.readyState === EventSource.CLOSED) open(); // it was refused: it does not try again by itself
    lostAt = undefined;
    banner.hidden = true;
    document.body.classList.remove("stale");
  };

  /** One look at a time: an error of the stream and the clock may ask together. */
  let looking = false;
  const look = async () => {
    if (looking) return;
    looking = true;
    try {
      await refresh();
      found();
    } catch (fault) {
      if (fault instanceof LoggedOut) return location.replace("/login.html#ended");
      lost();
    } finally {
      looking = false;
    }
  };

  open();
  setInterval(() => void look(), 2000);
  return look();
}

/** GETs JSON. Throws LoggedOut where the log-in has ended. */
export async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(10_000) });
  if (answer.status === 401) throw new LoggedOut();
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return { json: await answer.json(), date: answer.headers.get("date") };
}

class LoggedOut extends Error {}
