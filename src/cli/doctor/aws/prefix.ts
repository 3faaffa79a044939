/** Prefixes of a stream: what of them is fixed, and whether keys begin with the hour of arrival. Pure. */

/** Folders before the first expression. */
export function staticPrefix(prefix: string): string {
  const at = prefix.indexOf('!{')
  return at < 0 ? prefix : prefix.slice(0, prefix.lastIndexOf('/', at) + 1)
}

/** What Firehose adds to a prefix without expressions, and what the catalog follows. */
const HOUR = 'yyyy/MM/dd/HH/'

/** Whether keys are `fixed prefix` + `yyyy/MM/dd/HH/` + a name. */
export function beginsWithHour(prefix: string): boolean {
  if (!prefix.includes('!{')) return true
  return prefix.slice(staticPrefix(prefix).length).replaceAll(/!\{timestamp:([^}]*)\}/g, '$1') === HOUR
}
