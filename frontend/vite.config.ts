import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Plugin, defineConfig } from "vite";

const here = dirname(fileURLToPath(import.meta.url));

/** Writes the licences of everything that is in the bundle beside it, as they ask for. */
function licences(): Plugin {
  return {
    name: "licences",
    generateBundle(_options, bundle) {
      const homes = new Set<string>();
      for (const chunk of Object.values(bundle)) {
        for (const id of chunk.type === "chunk" ? Object.keys(chunk.modules) : []) {
          const home = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0].replace(/^\0/, "");
          if (home && existsSync(join(home, "package.json"))) homes.add(home);
        }
      }
      const texts = [...homes].sort().map((home) => {
        const about = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
        const own = readdirSync(home).find((name) => /^licen[cs]e/i.test(name));
        const file = own ? join(home, own) : join(here, "licences", `${about.name.replace("/", "-")}.txt`);
        const text = readFileSync(file, "utf8").trim(); // a package without its licence's text ends the build
        return `${about.name} ${about.version} (${about.license})\n\n${text}\n`;
      });
      this.emitFile({ type: "asset", fileName: "assets/licences.txt", source: texts.join(`\n${"-".repeat(72)}\n\n`) });
    },
  };
}

/**
 * Leaves out the gradients NiiVue computes of every volume for its 3-D rendering, which is never shown here: they take
 * as much graphics memory as the scan, and most of the time of a change of window.
 */
function slicesOnly(): Plugin {
  const made = "this.gradientTexture = gradientGL({";
  const whole = "this.volumeTexture = outTexture;\n      " + made;
  return {
    name: "slices-only",
    transform(code, id) {
      if (!id.endsWith("niivue/build/niivue/index.js")) return null;
      if (!code.includes(whole)) this.error("this NiiVue makes its gradients elsewhere");
      return { code: code.replace(whole, whole.replace(made, "this.gradientTexture = null && gradientGL({")), map: null };
    },
  };
}

export default defineConfig({
  plugins: [licences(), slicesOnly()],
  resolve: { alias: { zarrita: join(here, "src/no-zarr.ts") } },
  build: {
    outDir: "../src/covid19net/service/page",
    emptyOutDir: true,
    assetsDir: "assets",
    assetsInlineLimit: 0, // nothing in data: addresses that a strict policy would have to let in
    modulePreload: { polyfill: false },
    target: "es2022",
    chunkSizeWarningLimit: 2000, // kB; the viewer is that large, and loaded only with a case
  },
});
