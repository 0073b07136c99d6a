// Parameters, checked against the generated schema, and what each stage gets of them.
//
// The strict parser hands command-line values over as strings, the legacy one guesses types: both are
// brought to the declared type here, once. `options.flags.<stage>` is the stage's part of a command line.

def loadSchema() {
    return new groovy.json.JsonSlurper().parse(new File("${projectDir}/nextflow_schema.json"))
}

def checkedOptions(given) {
    def schema = loadSchema()
    def known = schema['$defs'].values().collectEntries { group -> group.properties }
    def unknown = given.keySet().find { name -> !known.containsKey(name) && !isAlias(name, given) }
    if (unknown) {
        throw new IllegalArgumentException("unknown parameter --${unknown}.${nearest(unknown, known.keySet())}")
    }
    def options = known.keySet().collectEntries { name -> [name, converted(name, given[name], known[name])] }
    refuseForeign(options, known, schema)
    options.flags = schema['x-stages'].collectEntries { stage, names -> [stage, flagsOf(options, names)] }
    return options
}

// Nextflow also sets `fooBar` for `--foo-bar` and `foo-bar` for `--fooBar`.
def isAlias(name, given) {
    def dashed = name.replaceAll(/([a-z0-9])([A-Z])/, '$1-$2').toLowerCase()
    return dashed != name && given.containsKey(dashed)
}

def refuse(name, value, wanted) {
    throw new IllegalArgumentException("--${name} ${value}: expected ${wanted}")
}

def converted(name, value, rule) {
    if (value == null || value.toString() == '' || value.toString() == 'null') {
        return null
    }
    def text = value instanceof Collection ? value.join(',') : value.toString()
    if (rule['enum'] != null && !rule['enum'].any { one -> one.toString() == text }) {
        refuse(name, text, "one of ${rule['enum'].join(', ')}")
    }
    if (rule.pattern != null && !text.find(rule.pattern)) {
        refuse(name, text, "something like ${rule['default']}")
    }
    if (rule.type == 'boolean') {
        if (!['true', 'false'].contains(text.toLowerCase())) {
            refuse(name, text, 'true or false')
        }
        return text.toLowerCase() == 'true'
    }
    if (rule.type == 'integer' || rule.type == 'number') {
        return number(name, text, rule)
    }
    def list = rule['x-list']
    if (list != null && list.items != null && text.replaceAll(/[\[\]() ]/, '').tokenize(',').size() != list.items) {
        refuse(name, text, "${list.items} values with commas between")
    }
    return text
}

def number(name, text, rule) {
    def whole = rule.type == 'integer'
    if (!text.isBigDecimal() || (whole && text.toBigDecimal().stripTrailingZeros().scale() > 0)) {
        refuse(name, text, whole ? 'a whole number' : 'a number')
    }
    def value = text.toBigDecimal()
    if (rule.minimum != null && value < rule.minimum) {
        refuse(name, text, "at least ${rule.minimum}")
    }
    if (rule.exclusiveMinimum != null && value <= rule.exclusiveMinimum) {
        refuse(name, text, "more than ${rule.exclusiveMinimum}")
    }
    if (rule.maximum != null && value > rule.maximum) {
        refuse(name, text, "at most ${rule.maximum}")
    }
    if (rule.exclusiveMaximum != null && value >= rule.exclusiveMaximum) {
        refuse(name, text, "less than ${rule.exclusiveMaximum}")
    }
    return whole ? value.toBigInteger() : value
}

// A parameter that only another workflow uses is a mistake, unless it has its default.
def refuseForeign(options, known, schema) {
    def mine = (schema['x-workflows'][options.workflow] ?: []).collectMany { stage -> schema['x-stages'][stage] ?: [] }
    def staged = schema['x-stages'].values().flatten().toSet()
    def stray = (staged - mine.toSet()).find { name ->
        options[name] != null && "${options[name]}" != "${converted(name, known[name]['default'], known[name])}"
    }
    if (stray) {
        def owners = schema['x-workflows'].findAll { _name, stages -> stages.any { stage -> schema['x-stages'][stage]?.contains(stray) } }
        throw new IllegalArgumentException("--${stray} has no use in --workflow ${options.workflow}; it belongs to ${owners.keySet().join(' and ')}")
    }
}

// `--name 'value' ...` for the parameters that a stage takes; its tasks run again when they change.
def flagsOf(options, names) {
    return names.findAll { name -> options[name] != null }.collect { name -> flag(name, options[name]) }.join(' ')
}

// Flags of the report: its title is what the user gave.
def titled(options) {
    return [options.flags.report, flag('title', "${options.workflow} ${options.input}")].findAll().join(' ')
}

// With = where the value would be taken for a flag.
def flag(name, value) {
    return "--${name}${value.toString().startsWith('--') ? '=' : ' '}${quoted(value)}"
}

// The one way by which what a user or a file says gets into a script: a single word of bash, on a single line.
def quoted(value) {
    def text = value.toString()
    if (text.matches('[\\w.,:/+-]+')) {
        return text
    }
    if (!text.find('\\p{Cntrl}')) {
        return "'" + text.replace("'", "'\\''") + "'"
    }
    def plain = text.replace('\\', '\\\\').replace("'", "\\'")
    def shown = plain.toList().collect { one -> one.matches('\\p{Cntrl}') ? String.format('\\x%02x', one.codePointAt(0)) : one }
    return "\$'${shown.join('')}'"
}

def nearest(name, known) {
    def best = known.min { other -> distance(name, other) }
    return distance(name, best) <= Math.max(2, name.length().intdiv(3)) ? " Did you mean --${best}?" : ''
}

// Levenshtein's, row by row.
def distance(a, b) {
    def last = (1..a.length()).inject((0..b.length()).toList()) { row, i ->
        (1..b.length()).inject([i]) { made, j ->
            made + [[row[j] + 1, made[j - 1] + 1, row[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)].min()]
        }
    }
    return last[b.length()]
}

def helpText() {
    def schema = loadSchema()
    def groups = schema['$defs'].values().collect { group ->
        def rows = group.properties.collect { name, p ->
            def values = p['enum'] ? " (${p['enum'].join(' | ')})" : ''
            def unit = p['x-unit'] ? " ${p['x-unit']}" : ''
            def usual = p['default'] == null || p['default'] == '' ? '' : " [${p['default']}${unit}]"
            "  --${name.padRight(24)} ${p.description}${values}${usual}"
        }
        "${group.title}: ${group.description}\n${rows.join('\n')}"
    }
    def workflows = schema['x-workflows'].keySet().collect { name -> "  nextflow run main.nf --workflow ${name} --input PATH|URI --outdir DIR" }
    return "Voxelmill\n\n${workflows.join('\n')}\n\n${groups.join('\n\n')}\n"
}
