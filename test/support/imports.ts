/** Imports of source files, read as text: with `verbatimModuleSyntax` a type import says so, so text is enough. */

import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

export interface Import {
  /** Path below the root, or the name of a package or of a Node module. */
  readonly target: string
  readonly relative: boolean
  /** Gone when the program runs. */
  readonly typeOnly: boolean
  /** `import()`: loaded later, so it closes no ring. */
  readonly dynamic: boolean
}

const STATIC = /^(?:import|export)\s+(type\s+)?(?:[^'"`;]*?\sfrom\s+)?'([^']+)'/gm
const DYNAMIC = /\bimport\(\s*'([^']+)'\s*\)/g
const WORKER = /new URL\('([^']+\.ts)',\s*import\.meta\.url\)/g

/** @param file path below `root` */
export function importsOf(root: string, file: string): Import[] {
  const text = withoutComments(readFileSync(join(root, file), 'utf8'))
  const found = (specifier: string, typeOnly: boolean, dynamic: boolean): Import => {
    const relative = specifier.startsWith('.')
    return { target: relative ? normalize(join(dirname(file), specifier)) : specifier, relative, typeOnly, dynamic }
  }
  return [
    ...[...text.matchAll(STATIC)].map(match => found(match[2] ?? '', match[1] !== undefined, false)),
    ...[...text.matchAll(DYNAMIC)].map(match => found(match[1] ?? '', false, true)),
    ...[...text.matchAll(WORKER)].map(match => found(match[1] ?? '', false, true)),
  ]
}

/** Every `.ts` file below the folders, as a path below `root`, sorted. */
export function sourceFiles(root: string, folders: readonly string[]): string[] {
  return folders
    .flatMap(folder => readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(name => join(folder, name)))
    .filter(name => name.endsWith('.ts') && !name.includes('node_modules'))
    .sort()
}

/** Rings among static run-time imports, each as the files that it goes through. */
export function rings(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = []
  const state = new Map<string, 'open' | 'done'>()
  const path: string[] = []
  const visit = (file: string): void => {
    state.set(file, 'open')
    path.push(file)
    for (const next of graph.get(file) ?? []) {
      if (state.get(next) === 'open') found.push([...path.slice(path.indexOf(next)), next])
      else if (state.get(next) === undefined) visit(next)
    }
    path.pop()
    state.set(file, 'done')
  }
  for (const file of graph.keys()) if (state.get(file) === undefined) visit(file)
  return found
}

/** Good enough for this code: block comments, and lines that are a comment from their beginning. */
export function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '')
}
