import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** `steno doctor aws` before streams and buckets that the AWS SDK has set up, well and badly. */

import type { ExtendedS3DestinationConfiguration } from '@aws-sdk/client-firehose'
import { CreateBucketCommand, PutBucketLifecycleConfigurationCommand, PutBucketPolicyCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { expect } from 'chai'

import type { Finding } from '../../src/cli/doctor/check.ts'
import { startAwsDouble, STATIC_KEYS } from '../support/aws/double.ts'
import type { AwsDouble } from '../support/aws/double.ts'
import { awsEnvironment, setAwsEnvironment } from '../support/aws/environment.ts'
import { BUCKET, owner, RIGHT } from '../support/aws/owner.ts'
import type { Owner } from '../support/aws/owner.ts'
import { SERVICES } from '../support/aws/services.ts'
import type { AwsService } from '../support/aws/services.ts'
import { segmentMember, storyLines } from '../support/build-recording.ts'
import { steno } from '../support/cli.ts'
import type { CliRun } from '../support/cli.ts'

const KEYS = { AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret }
const ARCHIVE = `s3://${BUCKET}/team-a`
const TRANSFORM = { Enabled: true, Processors: [{ Type: 'Lambda' as const, Parameters: [{ ParameterName: 'LambdaArn' as const, ParameterValue: 'arn:aws:lambda:us-east-1:123456789012:function:f' }] }] }
const DELIMITER = { Enabled: true, Processors: [{ Type: 'AppendDelimiterToRecord' as const, Parameters: [{ ParameterName: 'Delimiter' as const, ParameterValue: '\\n' }] }] }

async function doctor(endpoint: string, argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CliRun> {
  return await steno(['doctor', 'aws', ...argv], { env: { ...awsEnvironment(KEYS), AWS_ENDPOINT_URL: endpoint, ...env }, now: Date.now })
}

/** Name and state of all that is not as it should be. */
function others(run: CliRun): Readonly<Record<string, string>> {
  const findings = JSON.parse(run.out) as readonly Finding[]
  return Object.fromEntries(findings.filter(({ state }) => state !== 'ok').map(({ id, state }) => [id, state]))
}

/** Nobody can know these without writing, or without a recording. */
const BEFORE_THE_FIRST = { 'rights.put': 'note', 'rights.read': 'note' }

for (const { name, start } of SERVICES) {
  describe(`steno doctor aws, on ${name}`, () => {
    let service: AwsService
    let hands: Owner

    before(async function () {
      service = await start(this)
      hands = owner(service.endpoint)
      await hands.makeBucket()
      await hands.makeStream('right', RIGHT)
    })
    after(async () => {
      hands?.close()
      await service?.close()
    })

    it('finds nothing to change in a stream and a bucket as the template makes them', async () => {
      const { code, out, err } = await doctor(service.endpoint, ['--sink', 'firehose://right', '--archive', ARCHIVE, '-o', 'json'])
      expect(others({ code, out, err })).to.deep.equal(BEFORE_THE_FIRST)
      expect(code).to.equal(0)
      expect(err).to.match(/^0 problems, 2 to note, \d+ ok\n$/)
    })

    it('takes the bucket from the stream when no archive is given', async () => {
      const { out } = await doctor(service.endpoint, ['--sink', 'firehose://right'])
      expect(out).to.match(/bucket\.read +ok +evidence/).and.to.match(/stream\.prefix +ok +s3:\/\/evidence\/team-a\/yyyy/)
    })

    it('looks at an archive alone', async () => {
      const { code, out } = await doctor(service.endpoint, ['--archive', ARCHIVE, '-o', 'name'])
      expect(code).to.equal(0)
      expect(out).to.include('bucket.versioning\n').and.include('rights.read\n').and.not.include('stream.')
    })

    const wrong: Readonly<Record<string, readonly [Partial<ExtendedS3DestinationConfiguration>, Readonly<Record<string, string>>]>> = {
      compression: [{ CompressionFormat: 'GZIP' }, { 'stream.compression': 'problem' }],
      delimiter: [{ ProcessingConfiguration: DELIMITER }, { 'stream.delimiter': 'problem' }],
      transformation: [{ ProcessingConfiguration: TRANSFORM }, { 'stream.processing': 'problem' }],
      'processing-off': [{ ProcessingConfiguration: { ...TRANSFORM, Enabled: false } }, {}],
      partitioning: [{ DynamicPartitioningConfiguration: { Enabled: true } }, { 'stream.partitioning': 'problem' }],
      conversion: [{ DataFormatConversionConfiguration: { Enabled: true } }, { 'stream.conversion': 'problem' }],
      'conversion-off': [{ DataFormatConversionConfiguration: { Enabled: false } }, {}],
      'no-extension': [{ FileExtension: undefined }, { 'stream.extension': 'problem' }],
      'other-extension': [{ FileExtension: '.json' }, { 'stream.extension': 'problem' }],
      'no-folder': [{ Prefix: 'team-a' }, { 'stream.prefix': 'problem' }],
      elsewhere: [{ Prefix: 'team-b/' }, { 'stream.prefix': 'problem' }],
      deeper: [{ Prefix: 'team-a/mcp/' }, { 'stream.prefix': 'note' }],
      expression: [{ Prefix: 'team-a/!{timestamp:yyyy-MM-dd}/' }, { 'stream.prefix': 'note' }],
      'same-hours': [{ Prefix: 'team-a/!{timestamp:yyyy}/!{timestamp:MM/dd/HH}/' }, {}],
      'errors-inside': [{ ErrorOutputPrefix: 'team-a/errors/' }, { 'stream.error-prefix': 'problem' }],
      'no-errors': [{ ErrorOutputPrefix: undefined }, { 'stream.error-prefix': 'note' }],
      'no-log': [{ CloudWatchLoggingOptions: undefined }, { 'stream.log': 'note' }],
      'small-objects': [{ BufferingHints: { IntervalInSeconds: 300, SizeInMBs: 5 } }, { 'stream.buffering': 'note' }],
      'usual-buffering': [{ BufferingHints: undefined }, { 'stream.buffering': 'note' }],
      'at-once': [{ BufferingHints: { IntervalInSeconds: 0, SizeInMBs: 128 } }, { 'stream.buffering': 'note' }],
      late: [{ BufferingHints: { IntervalInSeconds: 900, SizeInMBs: 128 } }, { 'stream.buffering': 'note' }],
      'other-bucket': [{ BucketARN: 'arn:aws:s3:::elsewhere' }, { 'stream.destination': 'problem' }],
    }
    for (const [stream, [settings, expected]] of Object.entries(wrong)) {
      it(`says of the stream '${stream}' exactly what is wrong with it`, async () => {
        await hands.makeStream(stream, { ...RIGHT, ...settings })
        const run = await doctor(service.endpoint, ['--sink', `firehose://${stream}`, '--archive', ARCHIVE, '-o', 'json'])
        expect(others(run)).to.deep.equal({ ...BEFORE_THE_FIRST, ...expected })
        expect(run.code).to.equal(Object.values(expected).includes('problem') ? 1 : 0)
        for (const each of JSON.parse(run.out) as readonly Finding[]) if (each.state !== 'ok') expect(each).to.include.keys('why', 'change')
      })
    }

    it('says that a stream does not encrypt what it keeps', async () => {
      await hands.makeStream('plain', RIGHT, { encrypted: false })
      const run = await doctor(service.endpoint, ['--sink', 'firehose://plain', '-o', 'json'])
      expect(others(run)).to.deep.equal({ ...BEFORE_THE_FIRST, 'stream.encryption': 'note' })
    })

    it('says what is open in a bucket that nobody has set', async () => {
      await hands.s3.send(new CreateBucketCommand({ Bucket: 'bare' }))
      const run = await doctor(service.endpoint, ['--archive', 's3://bare', '-o', 'json'])
      expect(run.code).to.equal(1)
      expect(others(run)).to.deep.equal({
        'bucket.versioning': 'problem',
        'bucket.object-lock': 'problem',
        'bucket.deny-delete': 'problem',
        'bucket.public-access': 'problem',
        'bucket.encryption': 'note',
        'rights.read': 'note',
      })
    })

    const policies: Readonly<Record<string, readonly [unknown, string | undefined]>> = {
      'denies without exception': [[{ Effect: 'Deny', Principal: '*', Action: 's3:*', Resource: ['arn:aws:s3:::policy', 'arn:aws:s3:::policy/*'] }], undefined],
      'denies only what comes without TLS': [[{ Effect: 'Deny', Principal: '*', Action: 's3:*', Resource: ['arn:aws:s3:::policy', 'arn:aws:s3:::policy/*'], Condition: { Bool: { 'aws:SecureTransport': 'false' } } }], 'problem'],
      'denies one role': [[{ Effect: 'Deny', Principal: { AWS: 'arn:aws:iam::123456789012:role/app' }, Action: 's3:Delete*', Resource: 'arn:aws:s3:::policy/*' }], 'problem'],
      'denies in another folder': [[{ Effect: 'Deny', Principal: '*', Action: 's3:Delete*', Resource: 'arn:aws:s3:::policy/team-b/*' }], 'problem'],
      'denies to delete objects, and leaves versioning to all': [[{ Effect: 'Deny', Principal: '*', Action: ['s3:deleteobject*', 's3:PutObjectRetention', 's3:BypassGovernanceRetention'], Resource: 'arn:aws:s3:::policy/team-a/*' }], 'note'],
    }
    for (const [title, [statements, expected]] of Object.entries(policies)) {
      it(`judges a bucket policy that ${title}`, async () => {
        await hands.s3.send(new CreateBucketCommand({ Bucket: 'policy' }))
        await hands.s3.send(new PutBucketPolicyCommand({ Bucket: 'policy', Policy: JSON.stringify({ Version: '2012-10-17', Statement: statements }) }))
        const run = await doctor(service.endpoint, ['--archive', 's3://policy/team-a', '-o', 'json'])
        expect(others(run)['bucket.deny-delete']).to.equal(expected)
      })
    }

    it('tells of rules that let recordings expire, and not of others', async () => {
      await hands.s3.send(new CreateBucketCommand({ Bucket: 'rules' }))
      const rule = (ID: string, Prefix: string) => ({ ID, Filter: { Prefix }, Status: 'Enabled' as const, Expiration: { Days: 1 } })
      await hands.s3.send(new PutBucketLifecycleConfigurationCommand({ Bucket: 'rules', LifecycleConfiguration: { Rules: [rule('logs', 'logs/'), rule('all-of-a', 'team-a/')] } }))
      const look = async (folder: string): Promise<string> => (await doctor(service.endpoint, ['--archive', `s3://rules/${folder}`])).out
      expect(await look('team-a')).to.match(/bucket\.lifecycle +note +.*all-of-a/).and.not.include('logs')
      expect(await look('team-b')).to.match(/bucket\.lifecycle +ok/)
    })

    it('reads a recording, and says when its bytes are not as they were sent', async () => {
      await hands.s3.send(new CreateBucketCommand({ Bucket: 'filled' }))
      const member = segmentMember('w1', storyLines('w1'))
      for (const [folder, bytes, expected] of [
        ['whole', member, /rights\.read +ok +whole\//],
        ['changed', Buffer.concat([Buffer.from('\n'), member]), /rights\.read +problem +changed\/.*does not begin as a segment/],
      ] as const) {
        await hands.s3.send(new PutObjectCommand({ Bucket: 'filled', Key: `${folder}/2026/01/02/03/s-1-2026-01-02-03-04-05-x.jsonl.gz`, Body: bytes }))
        expect((await doctor(service.endpoint, ['--archive', `s3://filled/${folder}`])).out).to.match(expected)
      }
    })

    it('says which stream or bucket there is none of, and goes on with the other', async () => {
      const stream = others(await doctor(service.endpoint, ['--sink', 'firehose://nobody', '--archive', ARCHIVE, '-o', 'json']))
      expect(stream).to.include({ 'stream.read': 'problem', 'stream.compression': 'unknown' }).and.not.have.any.keys('bucket.read', 'bucket.versioning', 'rights.list')
      const run = await doctor(service.endpoint, ['--sink', 'firehose://right', '--archive', 's3://nobody/team-a'])
      expect(run.out).to.match(/bucket\.read +problem +there is no such bucket/).and.to.match(/bucket\.versioning +unknown +not known: see bucket\.read/).and.to.match(/stream\.compression +ok/)
    })
  })
}

describe('steno doctor aws, when AWS fails', () => {
  let aws: AwsDouble
  let hands: Owner
  const run = async (...argv: readonly string[]): Promise<CliRun> => await doctor(aws.endpoint, ['--sink', 'firehose://right', '--archive', ARCHIVE, ...argv])

  beforeEach(async () => {
    aws = await startAwsDouble()
    hands = owner(aws.endpoint)
    await hands.makeBucket()
    await hands.makeStream('right', RIGHT)
  })
  afterEach(async () => {
    hands.close()
    await aws.close()
  })

  for (const [operation, id] of [
    ['firehose:DescribeDeliveryStream', 'stream.read'],
    ['s3:GET versioning', 'bucket.versioning'],
    ['s3:GET object-lock', 'bucket.object-lock'],
    ['s3:GET policy', 'bucket.deny-delete'],
    ['s3:GET publicAccessBlock', 'bucket.public-access'],
    ['s3:GET encryption', 'bucket.encryption'],
    ['s3:GET lifecycle', 'bucket.lifecycle'],
    ['s3:GET versions', 'rights.list'],
  ] as const) {
    it(`has a line of its own for ${operation} when that is denied, and looks at the rest`, async () => {
      aws.refuse = asked => (asked === operation ? { status: operation.startsWith('s3') ? 403 : 400, code: operation.startsWith('s3') ? 'AccessDenied' : 'AccessDeniedException', message: `not authorized to perform: ${operation}` } : undefined)
      const { code, out } = await run()
      expect(code).to.equal(1)
      expect(out).to.match(new RegExp(`${id.replace('.', '\\.')} +unknown +these credentials may not ask \\(AccessDenied`))
      expect(out.match(/may not ask/g)).to.have.length(2)
      expect(out).to.match(/(?:bucket\.read|stream\.read) +ok/)
    })
  }

  it('tells that records may not be put', async () => {
    aws.refuse = asked => (asked === 'firehose:PutRecordBatch' ? { status: 400, code: 'AccessDeniedException', message: 'no' } : undefined)
    expect(others(await run('-o', 'json'))).to.include({ 'rights.put': 'problem' })
  })

  it('says of each question that gets no answer that there was none, when time is up, and tells the rest', async () => {
    aws.refuse = asked => (asked === 's3:GET policy' || asked === 'firehose:DescribeDeliveryStream' ? 'silence' : undefined)
    const { code, out } = await run('--timeout', '3s')
    expect(code).to.equal(1)
    expect(out).to.match(/bucket\.deny-delete +unknown +no answer within 3s/).and.to.match(/stream\.read +unknown +no answer within 3s/).and.to.match(/bucket\.versioning +ok/)
  })

  it('names the region that was asked when it is not the right one', async () => {
    const { out } = await doctor(aws.endpoint, ['--sink', 'firehose://right?region=eu-west-1', '--archive', ARCHIVE])
    expect(out).to.match(/stream\.read +unknown +.*valid region/).and.to.include('this was asked in eu-west-1: give the right region with ?region=…')
  })

  for (const [title, env, expected] of [
    ['there are none', { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' }, /aws\.credentials +problem +no credentials: CredentialsProviderError/],
    ['the token file is missing', { AWS_WEB_IDENTITY_TOKEN_FILE: '/nowhere/token', AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/recorder' }, /aws\.credentials +problem +no credentials: ENOENT/],
    ['the secret is wrong', { AWS_SECRET_ACCESS_KEY: 'not-the-secret' }, /aws\.credentials +unknown +the credentials are refused \(InvalidSignatureException\)/],
  ] as const) {
    it(`says so when the credentials fail: ${title}`, async () => {
      const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, ...rest } = { ...awsEnvironment(KEYS), AWS_ENDPOINT_URL: aws.endpoint, ...env } as Record<string, string>
      // The SDK's own providers look at the process.
      const restore = setAwsEnvironment({})
      const keys = title === 'the token file is missing' ? {} : { AWS_ACCESS_KEY_ID: id ?? '', AWS_SECRET_ACCESS_KEY: secret ?? '' }
      const { code, out, err } = await steno(['doctor', 'aws', '--sink', 'firehose://right', '--archive', ARCHIVE], { env: { ...rest, ...keys }, now: Date.now })
      restore()
      expect(code).to.equal(1)
      expect(out).to.match(expected)
      expect(out + err).not.to.match(/not-the-secret|wJalrXUtn/)
    })
  }

  it('waits no longer than it may when the program that a profile names gives no credentials', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'steno-profile-'))
    const config = join(folder, 'config')
    // It says nothing, and ends with this process.
    await writeFile(config, '[default]\ncredential_process = cat\n')
    const restore = setAwsEnvironment({ AWS_CONFIG_FILE: config })
    const { code, out } = await steno(['doctor', 'aws', '--sink', `firehose://right?endpoint=${aws.endpoint}`, '--archive', ARCHIVE, '--timeout', '300ms'], { env: { AWS_REGION: 'us-east-1', AWS_ENDPOINT_URL: aws.endpoint }, now: Date.now })
    restore()
    await rm(folder, { recursive: true })
    expect(code).to.equal(1)
    expect(out).to.match(/aws\.credentials +unknown +no answer within 300ms/).and.to.match(/bucket\.versioning +unknown/)
  })

  it('measures how far the clock is off, and looks at the rest all the same', async () => {
    aws.aheadMs = 3_600_000
    const { code, out } = await run()
    expect(code).to.equal(1)
    expect(out).to.match(/aws\.clock +problem +3(?:599|60\d) s off/).and.to.match(/stream\.compression +ok/).and.to.match(/bucket\.versioning +ok/)
  })

  it('leaves out what it is told to', async () => {
    aws.refuse = asked => (asked === 's3:GET policy' ? { status: 403, code: 'AccessDenied' } : undefined)
    const { code, out } = await run('--skip', 'bucket.deny-delete', 'rights.put')
    expect(code).to.equal(0)
    expect(out).not.to.match(/deny-delete|rights\.put/)
  })

  it('writes nothing', async () => {
    const asked = new Set<string>()
    aws.refuse = operation => {
      asked.add(operation)
      return undefined
    }
    await run()
    expect([...asked].filter(each => !/^s3:(?:GET|HEAD)|:Describe|sts:GetCallerIdentity/.test(each))).to.deep.equal(['firehose:PutRecordBatch'])
    // That one has no records.
    expect(aws.calls).to.deep.equal([])
    expect(aws.bucket.keys.size).to.equal(0)
  })
})

describe('steno doctor aws, told wrongly', () => {
  for (const [title, argv, says] of [
    ['nothing to look at', [], /nothing to look at/],
    ['a folder', ['--archive', './recordings'], /is no bucket/],
    ['a check that does not exist', ['--archive', ARCHIVE, '--skip', 'bucket.size'], /--skip 'bucket\.size' is none of .*bucket\.versioning/],
    ['no region', ['--sink', 'firehose://right'], /no region is set/],
    ['a time that is none', ['--archive', ARCHIVE, '--timeout', 'soon'], /--timeout 'soon'/],
  ] as const) {
    it(`is refused with 2: ${title}`, async () => {
      const { code, err } = await steno(['doctor', 'aws', ...argv], { env: title === 'no region' ? {} : { AWS_REGION: 'us-east-1' } })
      expect(code).to.equal(2)
      expect(err).to.match(says)
    })
  }
})
