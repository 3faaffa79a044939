/** Reading what people wrote, strictly: every mistake is named with its place, and nothing unknown is passed over. */

import { isObject } from './json.ts'
import type { JsonObject } from './json.ts'

/** What is wrong, and where: `spec.ports[0].port`. The message says what is right. */
export interface Problem {
  readonly path: string
  readonly message: string
}

export function problemText({ path, message }: Problem): string {
  return path === '' ? message : `${path}: ${message}`
}

/** Collects problems while a document is read; what could not be read comes back as undefined. */
export class Reader {
  readonly problems: Problem[] = []

  wrong(path: string, message: string): undefined {
    this.problems.push({ path, message })
    return undefined
  }

  /** An object with no members but the known ones. */
  object(value: unknown, path: string, known: readonly string[]): JsonObject | undefined {
    if (!isObject(value)) return this.wrong(path, 'must be an object')
    for (const name of Object.keys(value)) if (!known.includes(name)) this.wrong(join(path, name), `is not known; known are ${known.join(', ')}`)
    return value
  }

  text(value: unknown, path: string, rule?: { readonly pattern: RegExp; readonly says: string }): string | undefined {
    if (typeof value !== 'string') return this.wrong(path, 'must be text')
    if (rule !== undefined && !rule.pattern.test(value)) return this.wrong(path, rule.says)
    return value
  }

  oneOf<const T extends string>(value: unknown, path: string, allowed: readonly T[], otherwise?: T): T | undefined {
    if (value === undefined && otherwise !== undefined) return otherwise
    return allowed.find(each => each === value) ?? this.wrong(path, `must be one of ${allowed.join(', ')}`)
  }

  /** A list of at most so many entries; an absent one is empty. */
  list<T>(value: unknown, path: string, most: number, read: (entry: unknown, path: string) => T | undefined): T[] {
    if (value === undefined) return []
    if (!Array.isArray(value)) return this.wrong(path, 'must be a list') ?? []
    if (value.length > most) this.wrong(path, `may have at most ${most} entries, not ${value.length}`)
    return value.slice(0, most).flatMap((entry, index) => read(entry, `${path}[${index}]`) ?? [])
  }
}

export function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}
