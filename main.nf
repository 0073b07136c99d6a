#!/usr/bin/env nextflow
// Picks the workflow by --workflow; nothing else.

include { helpText } from './workflows/options'
include { beginRun ; endRun } from './workflows/run'
include { CONNECTOME } from './workflows/connectome'
include { TIMELAPSE } from './workflows/timelapse'

workflow {
    main:
    if ("${params.help}" == 'true') {
        println(helpText())
    }
    else {
        options = beginRun(params, workflow)
        if (options.workflow == 'connectome') {
            CONNECTOME(options)
        }
        else if (options.workflow == 'timelapse') {
            TIMELAPSE(options)
        }
    }

    workflow.onComplete = {
        endRun(params, workflow)
    }
}
