process REFINE_MANUAL_TRANSFORMS {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'

    input:
    tuple val(meta), path(fixed, stageAs: 'fixed/*'), path(fixed_manifest, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(moving_manifest, stageAs: 'moving/*'), path(manual, stageAs: 'manual/*')
    val flags

    output:
    tuple val(meta), path("published/refine_manual_transforms/${meta.id}/pairwise_registration_metrics.json"), emit: metrics
    tuple val(meta), path("published/refine_manual_transforms/${meta.id}/transform.tfm"), emit: transforms
    path "published/refine_manual_transforms/${meta.id}/*", emit: files
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    refine_manual_transforms.py ${flags} --fixed ${fixed} --moving ${moving} --manual ${manual} --name ${meta.id} --transform published/refine_manual_transforms/${meta.id}/transform.tfm --metrics published/refine_manual_transforms/${meta.id}/pairwise_registration_metrics.json --offsets published/refine_manual_transforms/${meta.id}/offsets.txt
    """

    stub:
    """
    stub.sh published/refine_manual_transforms/${meta.id}/transform.tfm published/refine_manual_transforms/${meta.id}/pairwise_registration_metrics.json published/refine_manual_transforms/${meta.id}/offsets.txt refine_manual_transforms.${meta.id}.provenance.json
    """
}
