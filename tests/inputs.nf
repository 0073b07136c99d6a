// Prints what localPath and fingerprint make of each case; driven by engine/test_inputs.py.

include { fingerprint ; localPath } from '../workflows/inputs'

workflow {
    main:
    cases = new groovy.json.JsonSlurper().parse(new File("${params.cases}"))
    answers = cases.collect { one ->
        try {
            def path = localPath(one.location)
            ["${path}", fingerprint(path, one.most)]
        }
        catch (IllegalArgumentException e) {
            [e.message, null]
        }
    }
    println('ANSWERS ' + groovy.json.JsonOutput.toJson(answers))
}
