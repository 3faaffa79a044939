/** `npm run docs`: writes the pages that are made from code and definitions. `npm run check` says when they are stale. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { references } from './references.ts'

for (const [name, text] of Object.entries(await references())) await writeFile(join(import.meta.dirname, '../..', name), text)
