#!/usr/bin/env nextflow
// Picks the workflow by --workflow; nothing else. What is included here under its own name is a workflow: lists of them
// everywhere else are made from this file. Parameters have been checked before any of it is compiled (conf/check.config).

include { beginRun ; endRun } from './workflows/run'
include { CONNECTOME } from './workflows/connectome'
include { MOSAIC } from './workflows/mosaic'
include { RECONSTRUCT } from './workflows/reconstruct'
include { RELEASE } from './workflows/release'
include { TIMELAPSE } from './workflows/timelapse'

workflow {
    main:
    options = beginRun(params, workflow, args)
    workflow.onComplete = {
        endRun(options, workflow)
    }

    if (options.workflow == 'connectome') {
        CONNECTOME(options)
    }
    else if (options.workflow == 'mosaic') {
        MOSAIC(options)
    }
    else if (options.workflow == 'reconstruct') {
        RECONSTRUCT(options)
    }
    else if (options.workflow == 'release') {
        RELEASE(options)
    }
    else if (options.workflow == 'timelapse') {
        TIMELAPSE(options)
    }
}
