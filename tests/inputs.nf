// Prints what localPath and fingerprint, or orientationLacking, make of each case; driven by engine/test_inputs.py.

include { fingerprint ; localPath ; orientationLacking } from '../workflows/inputs'

workflow {
    main:
    cases = new groovy.json.JsonSlurper().parse(new File("${params.cases}"))
    answers = cases.collect { one ->
        try {
            def path = localPath(one.location)
            one.most ? ["${path}", fingerprint(path, one.most)] : ["${path}", orientationLacking(path.toFile())]
        }
        catch (IllegalArgumentException e) {
            [e.message, null]
        }
    }
    println('ANSWERS ' + groovy.json.JsonOutput.toJson(answers))
}
