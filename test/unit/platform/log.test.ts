import { expect } from 'chai'
import { createLog } from '../../../src/platform/log.ts'
import type { LogLevel } from '../../../src/platform/log.ts'

describe('createLog()', () => {
  const lines = (level: LogLevel, use: (log: ReturnType<typeof createLog>) => void): string[] => {
    const written: string[] = []
    use(createLog({ level, write: line => written.push(line), now: () => 0 }))
    return written
  }

  it('writes one JSON line with its newline when called', () => {
    expect(lines('info', log => log.info('a\nb', { port: 1 }))).to.deep.equal(['{"time":"1970-01-01T00:00:00.000Z","level":"info","msg":"a\\nb","port":1}\n'])
  })

  it('leaves out what is below its level', () => {
    const written = lines('warn', log => {
      log.info('i')
      log.warn('w')
      log.error('e')
    })
    expect(written.map(line => JSON.parse(line).msg)).to.deep.equal(['w', 'e'])
  })

  it('keeps time, level and message when a field has their name', () => {
    const [line] = lines('info', log => log.info('true words', { msg: 'false', level: 'error', time: 'never' }))
    expect(JSON.parse(line ?? '')).to.deep.equal({ time: '1970-01-01T00:00:00.000Z', level: 'info', msg: 'true words' })
  })
})
