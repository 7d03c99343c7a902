// `dist`, for npm, has the module, the React hook and the license; any other folder gets the module alone. The same
// sources give the same bytes.
import { copyFile } from "node:fs/promises";

import { build } from "esbuild";

const folder = process.argv[2] ?? "dist";
const shared = { bundle: true, format: "esm", target: "es2022", minify: true, sourcemap: true, legalComments: "none" };

await build({ ...shared, entryPoints: ["src/client.ts"], outdir: folder });
if (folder === "dist") {
  await build({ ...shared, entryPoints: ["src/react.ts"], outdir: folder, external: ["react", "./client.js"] });
  await copyFile("../LICENSE", "dist/LICENSE");
}
