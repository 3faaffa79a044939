/** `hack/aws/steno.yaml`: a template that CloudFormation takes, of a stream and a bucket as docs/aws.md wants them. */

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

import { expect } from 'chai'

const TEMPLATE = readFileSync(new URL('../../hack/aws/steno.yaml', import.meta.url), 'utf8')
const HOW_TO_INSTALL = 'cfn-lint is not installed: python3 -m venv ~/.cache/steno-cfn-lint && ~/.cache/steno-cfn-lint/bin/pip install cfn-lint==1.58.0, and set STENO_CFN_LINT=~/.cache/steno-cfn-lint/bin/cfn-lint'

/** Its findings, and 'ok' for none. Skips the test where it is missing. */
function lint(test: Mocha.Context, template: string): string {
  test.timeout(60_000)
  const { error, status, stdout, stderr } = spawnSync(process.env['STENO_CFN_LINT'] ?? 'cfn-lint', ['--non-zero-exit-code', 'informational'], { input: template, encoding: 'utf8', timeout: 50_000 })
  if (error !== undefined) {
    if (process.env['CI'] === 'true') throw new Error(HOW_TO_INSTALL, { cause: error })
    console.error(`      skipped: ${HOW_TO_INSTALL}`)
    return test.skip()
  }
  return status === 0 ? 'ok' : stdout + stderr
}

describe('the CloudFormation template', () => {
  it('has nothing that cfn-lint finds, not even advice', function () {
    expect(lint(this, TEMPLATE)).to.equal('ok')
  })

  it('is found wrong when a value, a property or a reference is', function () {
    for (const [from, to, finding] of [
      ['UNCOMPRESSED', 'NONE', 'E3030'],
      ['ErrorOutputPrefix:', 'ErrorPrefix:', 'E3002'],
      ['!GetAtt Bucket.Arn', '!GetAtt Buckets.Arn', 'E1010'],
    ] as const) {
      expect(TEMPLATE).to.include(from)
      expect(lint(this, TEMPLATE.replace(from, to)), to).to.include(finding)
    }
  })

  it('sets up a stream that leaves bytes as they are, and a bucket that keeps every version', () => {
    for (const wanted of ['CompressionFormat: UNCOMPRESSED', 'FileExtension: .jsonl.gz', 'Prefix: !Ref Prefix', 'ErrorOutputPrefix: !Ref ErrorPrefix', 'VersioningConfiguration:\n        Status: Enabled', 'ObjectLockEnabled: true']) {
      expect(TEMPLATE).to.include(wanted)
    }
    expect(TEMPLATE).not.to.match(/ProcessingConfiguration|AppendDelimiter|DynamicPartitioning|DataFormatConversion/)
  })

  it('lets recorders put records and do nothing else, and readers change nothing', () => {
    const actions = (policy: string): readonly string[] => {
      const resource = new RegExp(`\n  ${policy}:\n((?: {4}.*\n|\n)+)`).exec(TEMPLATE)?.[1] ?? ''
      return [...resource.matchAll(/Action: \[?([^\]\n]+)/g)].flatMap(([, list = '']) => list.split(', '))
    }
    expect(actions('RecorderPolicy')).to.deep.equal(['firehose:PutRecordBatch'])
    expect(actions('ReaderPolicy')).to.deep.equal(['s3:ListBucketVersions', 's3:GetObject', 's3:GetObjectVersion', 'kms:Decrypt'])
    expect(actions('OperatorPolicy').filter(action => !/:(?:Describe|Get)/.test(action) || action.includes('GetObject'))).to.deep.equal([])
  })
})
