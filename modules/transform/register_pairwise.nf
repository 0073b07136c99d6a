process REGISTER_PAIRWISE {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'
    label 'gpu'

    input:
    tuple val(meta), path(fixed, stageAs: 'fixed/*'), path(fixed_manifest, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(moving_manifest, stageAs: 'moving/*')
    val flags

    output:
    tuple val(meta), path("published/register_pairwise/${meta.id}/pairwise_registration_metrics.json"), emit: metrics
    tuple val(meta), path("published/register_pairwise/${meta.id}/transform.tfm"), emit: transforms
    path "published/register_pairwise/${meta.id}/*", emit: files
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    register_pairwise.py ${flags} --fixed ${fixed} --moving ${moving} --name ${meta.id} --transform published/register_pairwise/${meta.id}/transform.tfm --metrics published/register_pairwise/${meta.id}/pairwise_registration_metrics.json --offsets published/register_pairwise/${meta.id}/offsets.txt
    """

    stub:
    """
    stub.sh published/register_pairwise/${meta.id}/transform.tfm published/register_pairwise/${meta.id}/pairwise_registration_metrics.json published/register_pairwise/${meta.id}/offsets.txt register_pairwise.${meta.id}.provenance.json
    """
}
