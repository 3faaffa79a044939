/** Compares text with a file that is kept. `UPDATE_GOLDEN=1` writes the file anew; the change is then reviewed like code. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

import { expect } from 'chai'

/** @param name path below `test/golden/` */
export function expectGolden(name: string, actual: string): void {
  const path = fileURLToPath(new URL(`../golden/${name}`, import.meta.url))
  if (process.env['UPDATE_GOLDEN'] === '1') {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, actual)
  }
  expect(actual, `differs from test/golden/${name}; UPDATE_GOLDEN=1 rewrites it`).to.equal(readFileSync(path, 'utf8'))
}
