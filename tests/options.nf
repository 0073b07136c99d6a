// Prints what checkedOptions makes of each case; driven by test_options.py, all cases in one start of Nextflow.

include { checkedOptions ; helpText ; quoted } from '../workflows/options'

workflow {
    main:
    cases = new groovy.json.JsonSlurper().parse(new File("${params.cases}"))
    answers = cases.collect { given ->
        try {
            checkedOptions(given).findAll { name, _value -> given.containsKey(name) || name == 'flags' }
        }
        catch (Exception e) {
            (e.cause ?: e).message
        }
    }
    println('ANSWERS ' + groovy.json.JsonOutput.toJson([answers: answers, help: helpText(), quoted: new groovy.json.JsonSlurper().parse(new File("${params.words}")).collect { word -> quoted(word) }]))
}
