/** Things of one kind, of which some are named and all are counted. */

/** That a line names. */
const MAX_NAMED = 3

export class Named {
  readonly #names: string[] = []
  #count = 0

  add(name: string): void {
    this.#count++
    if (this.#names.length < MAX_NAMED) this.#names.push(name)
  }

  get count(): number {
    return this.#count
  }

  /** `a, b, c and 4 more`. */
  get text(): string {
    const rest = this.#count - this.#names.length
    return `${this.#names.join(', ')}${rest === 0 ? '' : ` and ${rest} more`}`
  }
}

export function named(names: Iterable<string>): Named {
  const all = new Named()
  for (const name of names) all.add(name)
  return all
}

/** `1 pod`, `2 pods`. */
export function counted(count: number, one: string, several = `${one}s`): string {
  return `${count} ${count === 1 ? one : several}`
}
