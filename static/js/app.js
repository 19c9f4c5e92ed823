/* Starts the page: every part listens for itself; the socket opens last. */
import "./theme.js";
import "./menus.js";
import "./dialogs.js";
import "./drawer.js";
import "./focus.js";
import "./keys.js";
import "./later.js";
import "./watch.js";
import "./news.js";
import "./badge.js";
import { start } from "./live.js";

if (document.body.matches(".shell")) start();
