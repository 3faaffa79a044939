/** `npm run conformance`: progress on stderr; the last line on stdout is one JSON object. Exit code 1 when anything differs. */

import { compareClient, compareServer } from './compare.ts'
import type { Compared } from './compare.ts'
import { CLIENT_SETS, SERVER_SETS } from './sets.ts'
import { installSuite } from './suite.ts'

const say = (line: string): void => console.error(line)

function tell({ set, direct, recorded, differences, explained, problems }: Compared): void {
  const counts = ({ scenarios, passed, failed, warnings, infos, skipped }: Compared['direct']): string => `${scenarios} scenarios: ${passed} passed, ${failed} failed, ${warnings} warnings, ${infos} infos, ${skipped} skipped`
  say(`${set}\n  direct    ${counts(direct)}\n  recorded  ${counts(recorded)}\n  ${differences.length} differences${explained === 0 ? '' : `, ${explained} explained`}`)
  for (const each of differences) say(`  differs: ${each.scenario}, ${each.check}, ${each.status}: ${each.direct} times direct, ${each.recorded} times recorded`)
  for (const problem of problems) say(`  problem: ${problem}`)
}

try {
  if (process.argv.length > 2) throw new Error('npm run conformance takes no arguments')
  await installSuite(say)
  const sets: Compared[] = []
  for (const compare of [...SERVER_SETS.map(set => () => compareServer(set)), ...CLIENT_SETS.map(set => () => compareClient(set))]) {
    const compared = await compare()
    tell(compared)
    sets.push(compared)
  }
  const count = sets.reduce((sum, set) => sum + set.differences.length, 0)
  const problems = sets.reduce((sum, set) => sum + set.problems.length, 0)
  console.log(JSON.stringify({ differences: count, problems, sets }))
  process.exit(count + problems === 0 ? 0 : 1)
} catch (error) {
  say(`error: ${error instanceof Error ? error.message : String(error)}`)
  process.exit(1)
}
