/** boto3 before moto and the double: what another SDK reads from them is what AWS documents, so that neither only agrees with our own client. */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

import { expect } from 'chai'

import { BUCKET, ROLE_ARN, startAwsDouble, STATIC_KEYS, STREAM, webIdentityToken } from '../support/aws/double.ts'
import { awsEnvironment } from '../support/aws/environment.ts'
import { HOW_TO_INSTALL } from '../support/aws/moto.ts'
import { SERVICES } from '../support/aws/services.ts'

const SCRIPT = join(import.meta.dirname, '../support/aws/boto3_contract.py')

type Found = Readonly<Record<string, unknown>>

/** moto brings boto3. Skips the test where it is missing. */
async function drive(test: Mocha.Context, endpoint: string): Promise<Found> {
  test.timeout(60_000)
  const python = join(dirname(process.env['STENO_MOTO'] ?? ''), 'python')
  if (process.env['STENO_MOTO'] === undefined || !existsSync(python)) {
    if (process.env['CI'] === 'true') throw new Error(HOW_TO_INSTALL)
    console.error(`      skipped: ${HOW_TO_INSTALL}`)
    return test.skip()
  }
  const env = { ...process.env, ...awsEnvironment({ AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret }) }
  const { stdout } = await promisify(execFile)(python, [SCRIPT, endpoint, BUCKET, STREAM, ROLE_ARN, webIdentityToken(Date.now() + 600_000)], { env })
  return JSON.parse(stdout) as Found
}

/** As documented. */
const DOCUMENTED: Found = {
  put: { failed: 0, records: ['id', 'id', 'id'] },
  'no such stream': 'ResourceNotFoundException',
  // Keys ascend, and versions of a key come newest first.
  versions: [['v/a', 10, true], ['v/a', 6, false], ['v/b', 6, false]],
  markers: ['v/b'],
  pages: 4,
  oldest: 'oldest',
  range: ['234', 'bytes 2-4/10'],
  'past the end': 'InvalidRange',
  'no such key': 'NoSuchKey',
  'no such bucket': 'NoSuchBucket',
  'put with the role': { failed: 0, records: ['id'] },
  'forged token': 'InvalidIdentityToken',
}
/** DIFFERENCES.md has these. */
const DIFFERENT: Readonly<Record<string, Found>> = { moto: { 'forged token': null } }

for (const { name, start } of SERVICES) {
  describe(`boto3, on ${name}`, () => {
    it('finds records taken, versions listed in order, ranges read and roles given as AWS documents it', async function () {
      const service = await start(this)
      try {
        expect(await drive(this, service.endpoint)).to.deep.equal({ ...DOCUMENTED, ...DIFFERENT[name] })
      } finally {
        await service.close()
      }
    })
  })
}

describe('boto3, on the double that fails', () => {
  it('is told which records of a call were not accepted, in an answer with status 200', async function () {
    const aws = await startAwsDouble()
    aws.fault = ({ number }) => (number === 0 ? { type: 'partial', fails: index => index === 1 } : undefined)
    expect((await drive(this, aws.endpoint))['put']).to.deep.equal({ failed: 1, records: ['id', 'ServiceUnavailableException', 'id'] })
    // It repeats nothing by itself.
    expect(aws.calls.map(({ records }) => records.length)).to.deep.equal([3, 1])
    await aws.close()
  })
})
