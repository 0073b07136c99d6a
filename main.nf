#!/usr/bin/env nextflow
// Picks the workflow by --workflow; nothing else.

include { CONNECTOME } from './workflows/connectome'

workflow {
    main:
    if (params.help.toString() == 'true') {
        println Voxelmill.help(projectDir)
    }
    else {
        def options = Run.begin(params, workflow)
        if (options.workflow == 'connectome') {
            CONNECTOME(options)
        }
    }

    workflow.onComplete = {
        Run.end(params, workflow)
    }
}
