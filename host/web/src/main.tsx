/* Where the pages start. */
import "@fontsource-variable/inter/wght.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/library.css";
import "./styles/sign-in.css";
import { render } from "preact";
import { App } from "./app";

render(<App />, document.getElementById("app")!);
