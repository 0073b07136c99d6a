import groovy.json.JsonSlurper
import java.nio.channels.FileChannel
import java.nio.channels.FileLock
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardOpenOption

/**
 * What the workflow asks of the generated schema: values of the right type, the flags of a stage,
 * help. And the lock that keeps two runs out of one folder.
 *
 * The strict parser hands command-line values over as strings, the legacy one guesses types:
 * both are brought to the declared type here, once.
 */
class Voxelmill {
    static Map schema
    private static FileLock held

    static Map load(Object projectDir) {
        if (schema == null) {
            schema = (Map) new JsonSlurper().parse(new File("${projectDir}/nextflow_schema.json"))
        }
        return schema
    }

    static Map properties() {
        return schema['$defs'].values().collectEntries { group -> group.properties }
    }

    /** All parameters, of their declared types. Throws with one line for the first that is wrong. */
    static Map check(Map given, Object projectDir) {
        load(projectDir)
        def known = properties()
        def checked = [:]
        given.each { name, value ->
            if (!known.containsKey(name)) {
                if (!isAlias(name, given)) {
                    throw new IllegalArgumentException("unknown parameter --${name}.${nearest(name, known.keySet())}")
                }
            }
            else {
                checked[name] = convert(name, value, known[name])
            }
        }
        refuseForeign(checked, known)
        return checked
    }

    /** Nextflow also sets `fooBar` for `--foo-bar` and `foo-bar` for `--fooBar`. */
    private static boolean isAlias(String name, Map given) {
        def dashed = name.replaceAll(/([a-z0-9])([A-Z])/, '$1-$2').toLowerCase()
        return dashed != name && given.containsKey(dashed)
    }

    private static Object convert(String name, Object value, Map rule) {
        if (value == null || value.toString() == '' || value.toString() == 'null') { return null }
        def text = (value instanceof Collection) ? value.join(',') : value.toString()
        def fail = { String wanted -> throw new IllegalArgumentException("--${name} ${text}: expected ${wanted}") }
        Object made = text
        if (rule.type == 'boolean') {
            if (!(text.toLowerCase() in ['true', 'false'])) { fail('true or false') }
            made = text.toLowerCase() == 'true'
        }
        else if (rule.type in ['integer', 'number']) {
            try {
                def number = new BigDecimal(text)
                made = (rule.type == 'integer') ? (Object) number.longValueExact() : (Object) number
            }
            catch (NumberFormatException | ArithmeticException e) {
                fail(rule.type == 'integer' ? 'a whole number' : 'a number')
            }
            if (rule.minimum != null && made < rule.minimum) { fail("at least ${rule.minimum}") }
            if (rule.exclusiveMinimum != null && made <= rule.exclusiveMinimum) { fail("more than ${rule.exclusiveMinimum}") }
            if (rule.maximum != null && made > rule.maximum) { fail("at most ${rule.maximum}") }
            if (rule.exclusiveMaximum != null && made >= rule.exclusiveMaximum) { fail("less than ${rule.exclusiveMaximum}") }
        }
        else if (rule['x-list'] != null && rule['x-list'].items != null) {
            def parts = text.replaceAll(/[\[\]() ]/, '').split(',')
            if (parts.length != rule['x-list'].items) { fail("${rule['x-list'].items} values with commas between") }
        }
        if (rule.enum != null && !(made.toString() in rule.enum*.toString())) { fail("one of ${rule.enum.join(', ')}") }
        if (rule.pattern != null && !(text =~ rule.pattern)) { fail("something like ${rule.default}") }
        return made
    }

    /** A parameter that only another workflow uses is a mistake, unless it has its default. */
    private static void refuseForeign(Map checked, Map known) {
        def mine = (schema['x-workflows'][checked.workflow] ?: []).collectMany { stage -> schema['x-stages'][stage] ?: [] } as Set
        def staged = schema['x-stages'].values().flatten() as Set
        checked.each { name, value ->
            def usual = convert(name, known[name].default, known[name])
            if (name in staged && !(name in mine) && value != null && value.toString() != usual.toString()) {
                def owners = schema['x-workflows'].findAll { w, stages -> stages.any { s -> name in schema['x-stages'][s] } }.keySet()
                throw new IllegalArgumentException("--${name} has no use in --workflow ${checked.workflow}; it belongs to ${owners.join(' and ')}")
            }
        }
    }

    static String nearest(String name, Collection known) {
        def best = known.min { other -> distance(name, other) }
        return distance(name, best) <= Math.max(2, name.length().intdiv(3)) ? " Did you mean --${best}?" : ''
    }

    private static int distance(String a, String b) {
        int[] row = (0..b.length()).toArray() as int[]
        (1..a.length()).each { i ->
            int before = row[0]
            row[0] = i
            (1..b.length()).each { j ->
                int old = row[j]
                row[j] = [row[j] + 1, row[j - 1] + 1, before + (a[i - 1] == b[j - 1] ? 0 : 1)].min()
                before = old
            }
        }
        return row[b.length()]
    }

    /** `--name 'value' ...` for the parameters that a stage takes; its task re-runs when they change. */
    static String flags(Map checked, String stage) {
        return schema['x-stages'][stage].findAll { name -> checked[name] != null && checked[name] != '' }
            .collect { name -> "--${name} ${quote(checked[name])}" }.join(' ')
    }

    static String quote(Object value) {
        def text = value.toString()
        return text ==~ /[\w.,:\/+-]+/ ? text : "'" + text.replace("'", "'\\''") + "'"
    }

    /** Grouped help of the chosen workflow, from the schema. */
    static String help(Object projectDir) {
        load(projectDir)
        def rows = ['Voxelmill', '', '  nextflow run main.nf --workflow connectome --input PATH|URI --outdir DIR', '']
        schema['$defs'].values().each { group ->
            rows << "${group.title}: ${group.description}".toString()
            group.properties.each { name, p ->
                def values = p.enum ? " (${p.enum.join(' | ')})" : ''
                def unit = p['x-unit'] ? " ${p['x-unit']}" : ''
                def usual = p.default == null || p.default == '' ? '' : " [${p.default}${unit}]"
                rows << "  --${name.padRight(24)} ${p.description}${values}${usual}".toString()
            }
            rows << ''
        }
        return rows.join('\n')
    }

    /** Only one run at a time in a folder: an OS lock, which ends with this process, however it ends. */
    static void lock(Object outdir, String run) {
        def dir = Path.of(outdir.toString()).toAbsolutePath()
        def file = dir.resolve('.voxelmill.lock')
        try {
            Files.createDirectories(dir)
            def channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE)
            held = channel.tryLock()
            if (held == null) {
                throw new IllegalStateException("${dir} is in use by ${Files.readString(file).trim()}; wait for it, or choose another --outdir")
            }
            channel.truncate(0)
            def host = InetAddress.getLocalHost().getHostName()
            channel.write(java.nio.ByteBuffer.wrap("run ${run}, process ${ProcessHandle.current().pid()} on ${host}\n".getBytes('UTF-8')))
            channel.force(true)
            Files.writeString(dir.resolve('INCOMPLETE'), "Run ${run} has not finished: what lies here may be of an earlier run.\n")
        }
        catch (java.nio.file.FileSystemException e) {
            throw new IllegalStateException("cannot write into --outdir ${dir}: ${e.class.simpleName} ${e.reason ?: ''}")
        }
    }

    static void unlock(Object outdir, boolean success) {
        if (held == null) { return }
        if (success) { Files.deleteIfExists(Path.of(outdir.toString()).toAbsolutePath().resolve('INCOMPLETE')) }
        held.release()
        held = null
    }
}
