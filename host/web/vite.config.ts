/* How the pages are built. Output: dist/index.html and hashed files under dist/assets/, which the
   server embeds. `npm run dev` proxies to a running `keyreel demo` (KEYREEL_URL).
   Not for: anything that runs in the browser. */
import { defineConfig, type Plugin } from "vite";

const server = process.env.KEYREEL_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [wavesurferWithoutInlineStyle()],
  // The plugin below must see wavesurfer's own source, which pre-bundling would hide from it.
  optimizeDeps: { exclude: ["wavesurfer.js"] },
  build: {
    target: "es2022",
    // Nothing is inlined: the policy that the pages are served under has no `data:`.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: {
    proxy: {
      "/api": { target: server, headers: { origin: server } },
      "/media": { target: server },
    },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
} as Parameters<typeof defineConfig>[0]);

/* wavesurfer puts a <style> element into its shadow root, which `style-src 'self'` forbids. We take
   it out here and adopt the same rules as a constructed sheet (src/player/waveform-view.ts). A
   release of wavesurfer in which the element is not found where expected fails the build. */
function wavesurferWithoutInlineStyle(): Plugin {
  const element = /<style\$\{[^]*?<\/style>/;
  let cut = 0;
  return {
    name: "keyreel:wavesurfer-without-inline-style",
    transform(code, id) {
      if (!/wavesurfer\.js\/dist\/wavesurfer\.esm\.js(\?|$)/.test(id)) return null;
      if (!element.test(code)) this.error("wavesurfer.js: the <style> element was not found");
      cut += 1;
      return { code: code.replace(element, ""), map: null };
    },
    buildEnd(error) {
      if (!error && cut === 0 && this.meta.watchMode === false && this.environment.mode === "build") {
        this.error("wavesurfer.js was not seen by the build");
      }
    },
  };
}
