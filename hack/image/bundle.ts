/**
 * The program as the image has it: one file for each command and one for the shipper's thread, with what they share in files of its own,
 * so that a recorder loads nothing of the webhook, and an error is the same class everywhere.
 */

import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'
import type { Plugin } from 'esbuild'

const root = join(import.meta.dirname, '../..')

/** Packages written for `require` ask for it; bundled ones find it here. */
const REQUIRE = "import{createRequire as stenoCreateRequire}from'node:module';const require=stenoCreateRequire(import.meta.url);"

/** What a bundle may look for beside itself when it runs: see `version.ts` and `shipper.ts`. Anything else would not be there. */
const BESIDE = [/new URL\("\.\.\/\.\.\/package\.json",import\.meta\.url\)/g, /new URL\(`\.\/worker\$\{extname\d*\(import\.meta\.url\)\}`,import\.meta\.url\)/g, /stenoCreateRequire\(import\.meta\.url\)/g]

/** Imported while the program runs, and only by `default`. Of what is written for `require`, esbuild keeps nothing else there. */
const DEFAULT_ALONE = /(?:^|\/)node_modules\/node-forge\//

/** Two sources load parts of packages by `createRequire`, which no bundler follows. Said as `require`, it does. */
const loads: Plugin = {
  name: 'loads',
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8')
      const contents = source
        .replace('const load = createRequire(import.meta.url)\n', '')
        .replaceAll(/\bload\('([^']+)'\)/g, "require('$1')")
        .replaceAll(/createRequire\(import\.meta\.url\)\('/g, "require('")
      return { contents, loader: 'ts' }
    })
  },
}

/**
 * @param folder gets `package.json` and `dist/js/`
 * @returns folders of the packages that it took something from, like `node_modules/undici`
 */
export async function bundle(folder: string): Promise<string[]> {
  const out = join(folder, 'dist/js')
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['src/main.ts', 'src/recorder/shipper/worker.ts'],
    entryNames: '[name]',
    chunkNames: '[name]-[hash]',
    outdir: out,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    // As modules, where a package has them: of others an import while it runs gets no names.
    mainFields: ['module', 'main'],
    target: 'node24',
    minifySyntax: true,
    minifyWhitespace: true,
    keepNames: true,
    legalComments: 'none',
    banner: { js: REQUIRE },
    plugins: [loads],
    metafile: true,
    logLevel: 'warning',
  })
  const nameless = Object.values(metafile.outputs).flatMap(({ entryPoint = '', exports }) => (/(?:^|\/)node_modules\//.test(entryPoint) && exports.join() === 'default' && !DEFAULT_ALONE.test(entryPoint) ? [entryPoint] : []))
  if (nameless.length > 0) throw new Error(`what is imported while it runs has lost the names of its exports: ${nameless.join(', ')}`)
  for (const name of await readdir(out)) {
    const text = BESIDE.reduce((left, known) => left.replaceAll(known, ''), await readFile(join(out, name), 'utf8'))
    const at = text.indexOf('import.meta.url')
    if (at >= 0) throw new Error(`${name} looks for a file that the image does not have: …${text.slice(Math.max(0, at - 80), at + 40)}…`)
  }
  await copyFile(join(root, 'LICENSE'), join(folder, 'LICENSE'))
  const manifest: unknown = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  const version = typeof manifest === 'object' && manifest !== null && 'version' in manifest ? manifest.version : undefined
  await writeFile(join(folder, 'package.json'), `${JSON.stringify({ name: 'steno', version, type: 'module' })}\n`)
  return [...new Set(Object.keys(metafile.inputs).flatMap(path => /(?:^|\/)(node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []))].toSorted()
}
