/** Prometheus' own parser, when the machine has it. */

import { spawnSync } from 'node:child_process'

/**
 * What `promtool check metrics` says about an exposition; empty when it has nothing to say.
 * @returns undefined when promtool is not installed
 */
export function promtoolFindings(text: string): string | undefined {
  const { error, status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
  if (error !== undefined) return undefined
  return status === 0 ? '' : `${stdout}${stderr}` || `promtool ended with ${String(status)}`
}
