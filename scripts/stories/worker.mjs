// Plays one story after the other for `npm run stories`.
import { play } from "./play.mjs";

process.on("message", (order) => process.send(play(order)));
process.on("disconnect", () => process.exit());
