process MAKE_MANUAL_ALIGN_PACKAGE {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'

    input:
    tuple val(meta), path(fixed, stageAs: 'fixed/*'), path(fixed_manifest, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(moving_manifest, stageAs: 'moving/*'), path(transform), path(metrics)
    val flags

    output:
    path "published/manual_align/${meta.id}/*", emit: files
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    make_manual_align_package.py ${flags} --fixed ${fixed} --moving ${moving} --transform ${transform} --metrics ${metrics} --name ${meta.id} --output published/manual_align/${meta.id}
    """

    stub:
    """
    stub.sh published/manual_align/${meta.id}/pair.json make_manual_align_package.${meta.id}.provenance.json
    """
}
